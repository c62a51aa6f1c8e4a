package store

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/ballast-io/ballast"
)

// answer is what a service said instead of doing what it was asked, or why it said
// nothing. Its words come from outside: they are quoted, and cut.
type answer struct {
	status int    // 0: none came
	code   string // as "NoSuchKey"
	text   string
	err    error
}

func (a *answer) Error() string {
	switch {
	case a.status == 0:
		return a.err.Error()
	case a.code == "":
		return fmt.Sprintf("the store answered %d", a.status)
	default:
		return fmt.Sprintf("the store answered %d %.60q: %.200q", a.status, a.code, a.text)
	}
}

func (a *answer) Unwrap() error { return a.err }

// answerOf finds what the service said.
func answerOf(err error) *answer {
	a := &answer{err: err}
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		a.status = response.HTTPStatusCode()
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		a.code, a.text = api.ErrorCode(), api.ErrorMessage()
	}
	return a
}

// failed says what went wrong with an object. Only the service's own word for it makes
// it one that is not there: a 404 may be anybody's on the way, and that the bucket is not
// there says nothing about what was kept in it (O3).
func (b *bucket) failed(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	a := answerOf(err)
	switch {
	case a.status == http.StatusNotFound && a.code == "NoSuchKey":
		return fmt.Errorf("%s %s: %w", verb, name, ballast.ErrNotFound)
	case a.code == "NoSuchBucket":
		return fmt.Errorf("%s %s: there is no bucket %s at the store", verb, name, b.name)
	case a.code == "InvalidRange":
		return fmt.Errorf("%s %s: it is shorter than what was asked for: %w", verb, name, io.ErrUnexpectedEOF)
	default:
		return fmt.Errorf("%s %s: %w", verb, name, a)
	}
}
