package lab

import (
	"errors"
	"os"
	"path/filepath"
)

// ModuleRoot is the folder of this module's source: the nearest one with a
// go.mod, upwards from the working folder.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find the module's root: no go.mod here or above")
		}
		dir = filepath.Dir(dir)
	}
}
