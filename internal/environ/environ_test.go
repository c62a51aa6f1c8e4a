package environ

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// G9: what is not known to be harmless is not passed on.
func TestChildrenGetNoSecrets(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "the secret")
	t.Setenv("BALLAST_ARCHIVE_PASSWORD_COMMAND", "echo the secret")
	t.Setenv("MADE_UP", "the secret")
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	cmd := exec.CommandContext(t.Context(), "env")
	cmd.Env = Of("LC_ALL=C", "MORE=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "secret") {
		t.Errorf("a child gets\n%s", out)
	}
	got := strings.Fields(string(out))
	for _, want := range []string{"TZ=Asia/Tokyo", "LC_ALL=C", "MORE=1"} {
		if !slices.Contains(got, want) {
			t.Errorf("a child does not get %s but\n%s", want, out)
		}
	}
}
