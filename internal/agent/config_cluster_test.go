package agent

import "testing"

// Where a node is reached: as asked for, by its options, as before, where it listens.
func TestSettleAddress(t *testing.T) {
	for _, tt := range []struct {
		name            string
		cfg             Config
		asked, before   string
		listen, address string
	}{
		{"asked for", Config{}, "10.0.0.1", "", "10.0.0.1:7420", "10.0.0.1:7420"},
		{"asked for again", Config{Advertise: "10.0.0.2:1"}, "10.0.0.1:9", "10.0.0.3:7420", "10.0.0.1:9", "10.0.0.1:9"},
		{"advertised", Config{Advertise: "n1.example"}, "", "10.0.0.3:7420", "n1.example:7420", "n1.example:7420"},
		{"advertised from elsewhere", Config{Advertise: "n1.example", Listen: ":9"}, "", "", ":9", "n1.example:9"},
		{"as before", Config{Listen: "10.0.0.1:9"}, "", "192.0.2.7:7420", "10.0.0.1:9", "192.0.2.7:7420"},
		{"where it listens", Config{Listen: "127.0.0.1:7421"}, "", "", "127.0.0.1:7421", "127.0.0.1:7421"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listen, address, err := tt.cfg.settleAddress(tt.asked, tt.before)
			if err != nil || listen != tt.listen || address != tt.address {
				t.Errorf("listens at %s, reached at %s, %v; want %s and %s", listen, address, err, tt.listen, tt.address)
			}
		})
	}
}
