package lab

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// Image says what a container image is made of: programs that are installed on
// the host. It needs no registry and no network.
type Image struct {
	Programs []string // absolute paths; the libraries they need come along
	Folders  []string // empty folders, absolute
	Change   []string // Dockerfile instructions, such as `ENTRYPOINT ["redis-server"]`
}

// Busybox is an image of Debian's busybox-static: a shell and small tools.
// Without arguments it runs until it is asked to end.
func Busybox() Image {
	return Image{
		Programs: []string{"/bin/busybox"},
		Folders:  []string{"/tmp", "/data"},
		Change: []string{
			`ENTRYPOINT ["/bin/busybox"]`,
			`CMD ["sh", "-c", "trap exit TERM; while :; do /bin/busybox sleep 1; done"]`,
		},
	}
}

// Redis is an image of Debian's redis-server, which keeps its data in /data and
// calls every write durable only when it is (appendfsync always).
func Redis() Image {
	return Image{
		Programs: []string{"/usr/bin/redis-server", "/usr/bin/redis-cli", "/bin/busybox"},
		Folders:  []string{"/tmp", "/data"},
		Change: []string{
			`ENTRYPOINT ["redis-server"]`,
			`CMD ["--dir", "/data", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]`,
			`WORKDIR /data`,
		},
	}
}

// ImportImage gives the machine's Engine an image under that name.
func (m *Machine) ImportImage(ctx context.Context, name string, image Image) error {
	args := []string{"import"}
	for _, c := range image.Change {
		args = append(args, "--change", c)
	}
	cmd := m.Command(ctx, "docker", append(args, "-", name)...)
	in, out := io.Pipe()
	cmd.Stdin = in
	packed := make(chan error, 1)
	go func() { packed <- out.CloseWithError(image.pack(ctx, out)) }()
	var complaint strings.Builder
	cmd.Stderr = &complaint
	err := m.Run(cmd)
	_ = in.Close() // ends pack, if docker did not read everything
	<-packed       // of no more interest
	if err != nil {
		return fmt.Errorf("import image %s: %w: %s", name, err, strings.TrimSpace(complaint.String()))
	}
	return nil
}

// pack writes the image as a tar archive.
func (i Image) pack(ctx context.Context, w io.Writer) error {
	files := map[string]bool{}
	for _, program := range i.Programs {
		libraries, err := libraries(ctx, program)
		if err != nil {
			return err
		}
		for _, f := range append(libraries, program) {
			files[f] = true
		}
	}
	tw := tar.NewWriter(w)
	for _, dir := range i.Folders {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o1777}); err != nil {
			return err
		}
	}
	for f := range files {
		if err := packFile(tw, f); err != nil {
			return fmt.Errorf("pack %s: %w", f, err)
		}
	}
	return tw.Close()
}

func packFile(tw *tar.Writer, path string) error {
	f, err := os.Open(path) // follows links: the image has the file itself
	if err != nil {
		return err
	}
	defer f.Close() // read-only: nothing to lose
	info, err := f.Stat()
	if err != nil {
		return err
	}
	mode := int64(info.Mode() & fs.ModePerm)
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path[1:], Mode: mode, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

// libraries are the shared libraries that a program needs, and its loader, by
// the paths it looks for them.
func libraries(ctx context.Context, program string) ([]string, error) {
	text, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
	if strings.Contains(string(text), "not a dynamic executable") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the libraries of %s: %w: %s", program, err, text)
	}
	var paths []string
	for word := range strings.FieldsSeq(string(text)) {
		if strings.HasPrefix(word, "/") {
			paths = append(paths, word)
		}
	}
	return paths, nil
}
