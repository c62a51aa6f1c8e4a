package doctor

import "testing"

// FuzzKernel takes any release for what it is, and says what to do about it.
func FuzzKernel(f *testing.F) {
	for _, release := range []string{"6.12.1-amd64", "6.19-rc1", "", ".", "5", "5.", "-1.-1", "99999999999999999999.1"} {
		f.Add(release)
	}
	f.Fuzz(func(t *testing.T, release string) {
		if c := kernel(release); c.Says == "" || (c.Level == OK) != (c.ToDo == "") {
			t.Errorf("kernel(%q) = %+v", release, c)
		}
	})
}
