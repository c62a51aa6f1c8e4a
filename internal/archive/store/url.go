package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// knownURLs is what a refused URL is answered with.
const knownURLs = `known are file:///absolute/path and s3://bucket/prefix?endpoint=http://host:port&region=…&path_style=true ` +
	`(all three optional; credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the files that the AWS tools use)`

// Open returns the store at a URL. The folder of a file:// URL is made when only its last
// part is missing; a bucket must be there. It asks nothing of a service yet. A URL that is
// unknown, malformed or has credentials in it is a [ballast.ErrInvalid] that lists the
// known ones, and never repeats the credentials. The caller must Close the result.
func Open(ctx context.Context, text string) (Store, error) {
	u, err := parseURL(text)
	if err != nil {
		return nil, fmt.Errorf("archive's URL: %w", err)
	}
	if u.scheme == "file" {
		return openFolder(u.path)
	}
	return openBucket(ctx, u)
}

// location is a URL that was understood.
type location struct {
	scheme    string // file or s3
	path      string // of a folder, absolute; of a bucket, its prefix: empty or ending with a slash
	bucket    string
	endpoint  string // empty: Amazon's
	region    string // empty: the environment's
	pathStyle bool   // the bucket is in the path, not in the host's name
}

func refuse(format string, args ...any) error {
	return fmt.Errorf(format+"; "+knownURLs+": %w", append(args, ballast.ErrInvalid)...)
}

// parseURL understands a URL. What it refuses it does not repeat whole: there may be
// a secret in it.
func parseURL(text string) (location, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return location{}, refuse("it is malformed")
	case u.User != nil:
		return location{}, refuse("credentials do not belong in it")
	case u.Fragment != "" || u.Opaque != "":
		return location{}, refuse("it is malformed")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return location{}, refuse("its parameters are malformed")
	}
	switch u.Scheme {
	case "file":
		return parseFile(u, query)
	case "s3":
		return parseS3(u, query)
	default:
		return location{}, refuse("scheme %.20q is unknown", u.Scheme)
	}
}

func parseFile(u *url.URL, query url.Values) (location, error) {
	switch {
	case len(query) > 0:
		return location{}, refuse("file:// has no parameters")
	case u.Host != "" || !filepath.IsAbs(u.Path):
		return location{}, refuse("the path of file:// must be absolute")
	}
	return location{scheme: "file", path: filepath.Clean(u.Path)}, nil
}

func parseS3(u *url.URL, query url.Values) (location, error) {
	at := location{scheme: "s3", bucket: u.Host, path: strings.Trim(u.Path, "/")}
	if !isSegment(at.bucket) || len(at.bucket) < 3 || len(at.bucket) > 63 {
		return location{}, refuse("bucket %.80q is no bucket's name", u.Host)
	}
	if at.path != "" && !isPrefix(at.path) {
		return location{}, refuse("prefix %.80q: want segments of letters, digits, '.', '_' and '-'", at.path)
	}
	if at.path != "" {
		at.path += "/"
	}
	for name, values := range query {
		if len(values) != 1 {
			return location{}, refuse("parameter %.40q is there twice", name)
		}
		if err := at.set(name, values[0]); err != nil {
			return location{}, err
		}
	}
	if _, given := query["path_style"]; !given {
		at.pathStyle = at.endpoint != ""
	}
	return at, nil
}

// isPrefix is [isName] with capital letters, which a prefix that others chose may have.
func isPrefix(path string) bool { return isName(strings.ToLower(path)) }

func (at *location) set(name, value string) (err error) {
	switch name {
	case "endpoint":
		at.endpoint = value
		return checkEndpoint(value)
	case "region":
		at.region = value
		if !isSegment(value) {
			return refuse("region %.40q is no region's name", value)
		}
	case "path_style":
		if at.pathStyle, err = strconv.ParseBool(value); err != nil {
			return refuse("path_style is true or false, not %.20q", value)
		}
	default:
		return refuse("parameter %.40q is unknown", name)
	}
	return nil
}

func checkEndpoint(text string) error {
	u, err := url.Parse(text)
	switch {
	case err == nil && u.User != nil:
		return refuse("credentials do not belong in it")
	case err != nil, !slices.Contains([]string{"http", "https"}, u.Scheme), u.Host == "", strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return refuse("endpoint must be http://host:port or https://host:port")
	}
	return nil
}

// diskFolder is a folder store that owns its disk.
type diskFolder struct {
	Store
	disk *vfs.Disk
}

// Close implements [Store].
func (d diskFolder) Close() error { return d.disk.Close() }

// openFolder opens the folder at an absolute path. Of what is missing it makes only
// the last part: more would be a typing error or a disk that is not mounted.
func openFolder(path string) (Store, error) {
	err := os.Mkdir(path, 0o700)
	switch {
	case err == nil:
		err = syncParent(path)
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	disk, err := vfs.OS(path)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return diskFolder{NewFolder(disk), disk}, nil
}

func syncParent(path string) error {
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}
