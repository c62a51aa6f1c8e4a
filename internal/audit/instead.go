package audit

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/ballast-io/ballast"
)

// instead is what to type so that the state stays.
func instead(f Finding) []string {
	switch {
	case f.Kind == WritableLayer && f.Path == "/":
		return []string{"let the application write into a folder of its own, and mount a ballast volume there"}
	case f.Owner.Service:
		return []string{serviceUpdate(f)}
	case f.Owner.Compose != "":
		return composeLines(f)
	}
	return []string{
		"docker volume create -d ballast" + classOption(" -o class=", f.Class) + " " + f.Volume,
		fmt.Sprintf("docker run … -v %s:%s …", f.Volume, f.Path),
	}
}

// isSoftware tells what belongs into an image from state.
func isSoftware(f Finding) bool {
	return f.Kind == WritableLayer && (f.Path == "/etc" || under(f.Path, systemFolders) && !under(f.Path, appFolders))
}

// serviceUpdate replaces what a service has at the path by a volume.
func serviceUpdate(f Finding) string {
	var b strings.Builder
	b.WriteString("docker service update")
	if f.Declared {
		fmt.Fprintf(&b, " --mount-rm %s", f.Path)
	}
	fmt.Fprintf(&b, " --mount-add type=volume,source=%s,target=%s,volume-driver=ballast%s %s",
		f.Volume, f.Path, classOption(",volume-opt=class=", f.Class), f.Owner.Name)
	return b.String()
}

// composeLines are what a Compose file needs.
func composeLines(f Finding) []string {
	driver := fmt.Sprintf("in the file's volumes: %s: {driver: ballast}", f.Volume)
	if f.Class != ballast.Primary {
		driver = fmt.Sprintf("in the file's volumes: %s: {driver: ballast, driver_opts: {class: %s}}", f.Volume, f.Class)
	}
	return []string{driver, fmt.Sprintf("in the service's volumes: %s:%s", f.Volume, f.Path)}
}

// classOption says the class where it is not the one that a volume has anyway.
func classOption(prefix string, class ballast.Class) string {
	if class == ballast.Primary {
		return ""
	}
	return prefix + string(class)
}

// volumeName proposes a name: the owner's, with the folder's where that says more
// than "data".
func volumeName(f Finding) string {
	name := strings.Trim(strings.Map(nameRune, cmp.Or(f.Owner.Compose, f.Owner.Name)), "_.-")
	switch base := path.Base(f.Path); base {
	case "data", "/", ".", "db", "lib":
	default:
		if base = strings.Trim(strings.Map(nameRune, base), "_.-"); base != "" && base != name {
			name += "-" + base
		}
	}
	return name
}

// nameRune keeps what a volume's name may have.
func nameRune(r rune) rune {
	if strings.ContainsRune("_.-", r) || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
		return r
	}
	return '-'
}
