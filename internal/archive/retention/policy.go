package retention

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
)

// Default is the policy of a volume that does not say one.
const Default = "any second for 24h, hourly 7d, daily 30d"

// Policy says which points of a history are kept. It is at most one rule of each kind,
// in the order of the kinds; see [ParsePolicy].
type Policy []Rule

// Rule keeps points of an age.
type Rule struct {
	Kind Kind
	For  time.Duration // of age, 1 minute to [MaxFor]
}

// Kind says which of the points a rule keeps.
type Kind uint8

// The kinds of rules.
const (
	AnySecond Kind = iota + 1 // every point
	Hourly                    // the newest base of each hour
	Daily
	Weekly // a week begins on Monday
	Monthly
	Yearly
)

var kinds = []string{AnySecond: "any second", Hourly: "hourly", Daily: "daily", Weekly: "weekly", Monthly: "monthly", Yearly: "yearly"}

// String returns the kind as a policy has it.
func (k Kind) String() string {
	if int(k) >= len(kinds) {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kinds[k]
}

// MaxFor is the longest that a rule keeps: 200 years of 365 days.
const MaxFor = 200 * year

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// unit is a unit of a duration. There is no m: it would be minutes to one reader and
// months to the next.
type unit struct {
	name string
	size time.Duration
}

// units are in the order in which one is looked for to write a duration.
var units = []unit{{"y", year}, {"d", day}, {"h", time.Hour}, {"min", time.Minute}, {"w", 7 * day}}

// grammar is what a refused policy is answered with.
const grammar = `a policy is as "` + Default + `": any second, hourly, daily, weekly, monthly, yearly, each once, ` +
	`with how long it is kept: a whole number of min, h, d, w (7d) or y (365d), from 1min to 200y`

func refuse(format string, args ...any) error {
	return fmt.Errorf(format+"; "+grammar+": %w", append(args, ballast.ErrInvalid)...)
}

// maxPolicy bounds what is parsed, in bytes.
const maxPolicy = 256

// ParsePolicy understands a policy, as [Default]. "any-second" is any second, and a "for"
// may stand or be left out. What it does not understand is a [ballast.ErrInvalid] that
// says what is known. The text of a Policy parses to the same one.
func ParsePolicy(text string) (Policy, error) {
	if len(text) > maxPolicy {
		return nil, refuse("retention has %d bytes", len(text))
	}
	var p Policy
	for part := range strings.SplitSeq(text, ",") {
		rule, err := parseRule(strings.Fields(part))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(p, func(r Rule) bool { return r.Kind == rule.Kind }) {
			return nil, refuse("retention %q: %s is there twice", text, rule.Kind)
		}
		p = append(p, rule)
	}
	slices.SortFunc(p, func(a, b Rule) int { return cmp.Compare(a.Kind, b.Kind) })
	return p, nil
}

// parseRule understands the words of one rule.
func parseRule(words []string) (Rule, error) {
	kind, rest := parseKind(words)
	if kind == 0 {
		return Rule{}, refuse("retention %q: unknown rule", strings.Join(words, " "))
	}
	if len(rest) > 0 && rest[0] == "for" {
		rest = rest[1:]
	}
	if len(rest) == 0 || len(rest) > 2 { // "7 d" is two
		return Rule{}, refuse("retention %q: want how long", strings.Join(words, " "))
	}
	length, err := parseLength(strings.Join(rest, ""))
	return Rule{kind, length}, err
}

// parseKind finds which rule the words begin with, 0 if none, and returns the others.
func parseKind(words []string) (Kind, []string) {
	if len(words) == 0 {
		return 0, nil
	}
	if words[0] == "any-second" {
		return AnySecond, words[1:]
	}
	for k := AnySecond; k <= Yearly; k++ {
		if name := strings.Fields(k.String()); len(words) >= len(name) && slices.Equal(words[:len(name)], name) {
			return k, words[len(name):]
		}
	}
	return 0, nil
}

func parseLength(text string) (time.Duration, error) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	for _, u := range units {
		if digits+u.name != text {
			continue
		}
		// The digits alone: a sign would not come back from String.
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n == 0 || n > uint64(MaxFor/u.size) {
			return 0, refuse("retention: %q is too long or too short", text)
		}
		return time.Duration(n) * u.size, nil
	}
	return 0, refuse("retention: %q is not how long", text)
}

// String returns the policy in its one form, as [ParsePolicy] reads it.
func (p Policy) String() string {
	var parts []string
	for _, r := range p {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, ", ")
}

// String returns the rule as a policy has it.
func (r Rule) String() string {
	if r.Kind == AnySecond {
		return fmt.Sprintf("%s for %s", r.Kind, length(r.For))
	}
	return fmt.Sprintf("%s %s", r.Kind, length(r.For))
}

// length writes a duration in the largest unit that divides it; a day as 24h, as people do.
func length(d time.Duration) string {
	for _, u := range units {
		if d%u.size == 0 && (d != day || u.size < day) {
			return fmt.Sprintf("%d%s", d/u.size, u.name)
		}
	}
	return d.String()
}
