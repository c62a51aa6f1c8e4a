package s3test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

type ruleKey struct{}

func withRule(ctx context.Context, rule Rule) context.Context {
	return context.WithValue(ctx, ruleKey{}, rule)
}

func ruleOf(ctx context.Context) Rule {
	rule, _ := ctx.Value(ruleKey{}).(Rule)
	return rule
}

// cut is a body that breaks off.
type cut struct {
	io.ReadCloser
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("cut, as the test wants it")
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// short is a body that ends early.
type short struct {
	io.Reader
	io.Closer
}

// unheard takes an answer that nobody gets.
type unheard struct{ header http.Header }

func (u *unheard) Header() http.Header       { return u.header }
func (*unheard) Write(p []byte) (int, error) { return len(p), nil }
func (*unheard) WriteHeader(int)             {}

// maxSkew is how far a store lets a client's clock be from its own.
const maxSkew = 15 * time.Minute

// isSkewed says whether a store whose clock is wrong takes the request's time for wrong.
func isSkewed(r *http.Request, clock time.Duration) bool {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	return err != nil || at.Sub(time.Now().Add(clock)).Abs() > maxSkew
}

// resigning passes requests on. A server with a wrong clock, or an old one, cannot be had, so
// requests are made what a good one understands, and signed again.
type resigning struct{ next http.RoundTripper }

func (s resigning) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	rule := ruleOf(ctx)
	if rule.Clock == 0 && !rule.Unconditional {
		return s.next.RoundTrip(r)
	}
	r = r.Clone(ctx)
	r.Header.Del("Authorization")
	if rule.Unconditional {
		r.Header.Del("If-None-Match")
	}
	keys := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	err := v4.NewSigner().SignHTTP(ctx, keys, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", region, time.Now(),
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		return nil, err
	}
	return s.next.RoundTrip(r)
}
