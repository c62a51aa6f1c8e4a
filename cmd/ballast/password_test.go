package main

import (
	"strings"
	"testing"
)

func TestCheckPassword(t *testing.T) {
	for _, tt := range []struct {
		name, password string
		ok             bool
	}{
		{"a sentence", "correct horse battery staple", true},
		{"letters of the world", "pässwörd", true},
		{"the longest", strings.Repeat("x", maxPassword), true},
		{"longer", strings.Repeat("x", maxPassword+1), false},
		{"nothing", "", false},
		{"a space in front", " x", false},
		{"a tab behind", "x\t", false},
		{"two lines", "x\ny", false},
		{"a zero", "x\x00y", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := checkPassword(tt.password)
			if (err == nil) != tt.ok {
				t.Errorf("error %v; want success %t", err, tt.ok)
			}
			if err != nil && len(tt.password) > 2 && strings.Contains(err.Error(), tt.password) {
				t.Errorf("the error %q repeats the password (G9)", err)
			}
		})
	}
}
