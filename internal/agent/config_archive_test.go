package agent

import "testing"

func TestArchiveConfig(t *testing.T) {
	for _, tt := range []struct {
		name         string
		change       func(*Config)
		ok, own, any bool
		public       string
	}{
		{"nothing said", func(c *Config) { c.DataDir = "/d" }, true, true, true, "file:///d/archive"},
		{"none", func(c *Config) { c.Archive = NoArchive }, true, false, false, "none"},
		{"a folder", func(c *Config) { c.Archive = "file:///x" }, true, false, true, "file:///x"},
		{"a secret in the URL", func(c *Config) { c.Archive = "s3://key:Tr0ub4dor&3@bucket/x" }, true, false, true, "s3://bucket/x"},
		{"two passwords", func(c *Config) { c.ArchivePasswordFile, c.ArchivePasswordCommand = "/x", "y" }, false, false, false, ""},
		{"a retention that is none", func(c *Config) { c.Keep = "for ever and a day" }, false, false, false, ""},
		{"a negative interval", func(c *Config) { c.ArchiveInterval = -1 }, false, false, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{DataDir: "/d"}
			tt.change(&c)
			got, err := c.withDefaults()
			if (err == nil) != tt.ok {
				t.Fatalf("accepted: %v; want %t", err, tt.ok)
			}
			if err == nil && (got.location().IsOwn() != tt.own || got.archives() != tt.any || got.location().Public() != tt.public) {
				t.Errorf("own %t, any %t, %s; want %t, %t, %s", got.location().IsOwn(), got.archives(), got.location().Public(), tt.own, tt.any, tt.public)
			}
		})
	}
}
