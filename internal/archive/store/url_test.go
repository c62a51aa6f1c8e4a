package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
)

func TestParseURL(t *testing.T) {
	for url, want := range map[string]location{
		"file:///var/lib/ballast/archive": {scheme: "file", path: "/var/lib/ballast/archive"},
		"file:///a/":                      {scheme: "file", path: "/a"},
		"s3://bucket":                     {scheme: "s3", bucket: "bucket"},
		"s3://bucket/a/B/?region=eu-1":    {scheme: "s3", bucket: "bucket", path: "a/B/", region: "eu-1"},
		"s3://bucket/p?endpoint=http://127.0.0.1:9000": {
			scheme: "s3", bucket: "bucket", path: "p/", endpoint: "http://127.0.0.1:9000", pathStyle: true},
		"s3://bucket/p?endpoint=https%3A%2F%2Fs3.example.com&path_style=false": {
			scheme: "s3", bucket: "bucket", path: "p/", endpoint: "https://s3.example.com"},
	} {
		if got, err := parseURL(url); err != nil || got != want {
			t.Errorf("parseURL(%q) = %+v, %v; want %+v", url, got, err, want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, url := range []string{
		"", "/var/archive", "archive", "file:", "file://", "file://host/path", "file:relative", "file:///a?sync=no", "file:///a#b",
		"gs://bucket", "S4://bucket", "http://host/bucket", "s3:", "s3://", "s3:///prefix", "s3:bucket", "s3://b", "s3://Bucket", "s3://bucket:80/p",
		"s3://bucket/a//b", "s3://bucket/../b", "s3://bucket/a b", "s3://bucket/.a", "s3://bucket?region=a&region=b",
		"s3://bucket?endpoint=", "s3://bucket?endpoint=host:9000", "s3://bucket?endpoint=ftp://host", "s3://bucket?endpoint=http://host/path",
		"s3://bucket?endpoint=http://host?x=hunter2", "s3://bucket?path_style=perhaps", "s3://bucket?region=", "s3://bucket?region=a b", "s3://bucket?x=%zz",
		"s3://bucket?secret_access_key=hunter2", "s3://key:hunter2@bucket/p", "s3://hunter2@bucket", "file://hunter2@/path",
		"s3://bucket?endpoint=http://key:hunter2@host", "s3://key:hunter2@bucket:x", "://hunter2",
	} {
		at, err := parseURL(url)
		if !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("parseURL(%q) = %+v, %v; want ErrInvalid", url, at, err)
			continue
		}
		if text := err.Error(); !strings.Contains(text, "s3://bucket/prefix?") || strings.Contains(text, "hunter2") {
			t.Errorf("parseURL(%q): %v; want the known URLs, and no secret", url, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("s3://bucket/p?endpoint=http://127.0.0.1:9000&region=x&path_style=true")
	f.Add("file:///a/b")
	f.Fuzz(func(t *testing.T, text string) {
		at, err := parseURL(text)
		if err == nil && (at.scheme == "file") == (at.bucket != "") {
			t.Errorf("parseURL(%q) = %+v", text, at)
		}
	})
}
