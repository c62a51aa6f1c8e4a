package ballast

import "testing"

func TestCopies(t *testing.T) {
	for _, tt := range []struct {
		name         string
		options      map[string]string
		nodes        int
		want, needed int // 0: refused
	}{
		{"the only copy, one node", nil, 1, 1, 1},
		{"the only copy, two nodes", nil, 2, 2, 1},
		{"the only copy, five nodes", nil, 5, 2, 1},
		{"a cache", map[string]string{"class": "cache"}, 5, 1, 1},
		{"what replicates itself", map[string]string{"class": "clustered"}, 5, 1, 1},
		{"asked for more than there are nodes", map[string]string{"repl": "3"}, 1, 3, 1},
		{"asked for one", map[string]string{"replicas": "1"}, 5, 1, 1},
		{"at least two", map[string]string{"repl": "3", "min_copies": "2"}, 3, 3, 2},
		{"at least one", map[string]string{"min_copies": "1"}, 3, 2, 1},
		{"at least more than there shall be", map[string]string{"repl": "2", "min_copies": "3"}, 3, 0, 0},
		{"at least two of nobody knows how many", map[string]string{"min_copies": "2"}, 3, 0, 0},
		{"none", map[string]string{"repl": "0"}, 3, 0, 0},
		{"too many", map[string]string{"repl": "6"}, 3, 0, 0},
		{"at least none", map[string]string{"min_copies": "0"}, 3, 0, 0},
		{"not a number", map[string]string{"repl": "two"}, 3, 0, 0},
		{"two aliases that disagree", map[string]string{"repl": "2", "replicas": "3"}, 3, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseVolumeSpec(tt.options)
			if err != nil {
				if tt.want != 0 {
					t.Error(err)
				}
				return
			}
			if got := s.CopiesWanted(tt.nodes); got != tt.want || s.CopiesNeeded() != tt.needed {
				t.Errorf("%d copies, at least %d; want %d and %d", got, s.CopiesNeeded(), tt.want, tt.needed)
			}
		})
	}
}

// Docker asks again on every node with the options that a volume was made with,
// and the first release kept repl=1 as the default.
func TestSameCopies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		is     int
		asked  map[string]string
		differ bool
	}{
		{"not asked", 3, nil, false},
		{"asked as it is", 3, map[string]string{"repl": "3"}, false},
		{"asked otherwise", 3, map[string]string{"repl": "2"}, true},
		{"by default, asked for one", 0, map[string]string{"repl": "1"}, false},
		{"by default, asked for two", 0, map[string]string{"repl": "2"}, false},
		{"by default, asked for three", 0, map[string]string{"repl": "3"}, true},
		{"one, asked for two", 1, map[string]string{"repl": "2"}, true},
		{"at least one, asked for at least two", 3, map[string]string{"min_copies": "2"}, true},
		{"at least one by default", 3, map[string]string{"min_copies": "1"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := DefaultVolumeSpec()
			is.Replicas = tt.is
			asked, err := is.With(tt.asked)
			if err != nil {
				t.Fatal(err)
			}
			if diff := is.Differences(asked); (len(diff) > 0) != tt.differ {
				t.Errorf("differences %q; want some: %t", diff, tt.differ)
			}
		})
	}
}
