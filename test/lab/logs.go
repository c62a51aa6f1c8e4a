package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// Logs are the ends of all logs in the machine, each below the name of its
// file: what to read when something went wrong.
func (m *Machine) Logs() []string {
	files := []string{m.Agent.LogFile(), m.Dockerd.LogFile()}
	engines, err := filepath.Glob(m.Outside(m.Path("ballast", "volumes", "*", "engine.log")))
	if err != nil {
		return []string{err.Error()} // the pattern is wrong
	}
	var logs []string
	for _, file := range append(files, engines...) {
		logs = append(logs, fmt.Sprintf("end of %s:\n%s", file, tail(file)))
	}
	return logs
}

// tail is the end of a file, or why there is none.
func tail(file string) string {
	const enough = 4 << 10
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	if len(text) > enough {
		text = text[len(text)-enough:]
	}
	return string(text)
}
