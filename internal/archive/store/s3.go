package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/net/http/httpproxy"

	"github.com/ballast-io/ballast"
)

// How long a service may take, when the caller's context gives it longer.
const (
	dialTimeout    = 5 * time.Second
	answerTimeout  = 30 * time.Second // from the last byte of a request to the first of the answer
	attemptTimeout = 5 * time.Minute  // of one attempt, with its data: 64 MiB at 220 KB/s
	attempts       = 3
	firstBackoff   = 100 * time.Millisecond // and four times that before the next attempt
)

// creator is the metadata that tells whose Create an object is.
const creator = "ballast-create"

// bucket keeps each object in one of an S3-compatible service, by one PUT: an
// upload in parts would leave parts that cost money when it does not end.
type bucket struct {
	client       *s3.Client
	http         *http.Client
	name, prefix string
}

func openBucket(ctx context.Context, at location) (Store, error) {
	cfg, err := loadConfig(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("open archive in bucket %s: %w", at.bucket, err)
	}
	b := &bucket{name: at.bucket, prefix: at.path, http: &http.Client{
		Transport: transport(cfg.HTTPClient),
		Timeout:   attemptTimeout,
		// A service that sends us elsewhere would get what we have signed there.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPClient = b.http
		o.UsePathStyle = at.pathStyle
		if at.endpoint != "" {
			o.BaseEndpoint = aws.String(at.endpoint)
		}
	})
	return b, nil
}

func loadConfig(ctx context.Context, at location) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithHTTPClient(awshttp.NewBuildableClient()), // LoadDefaultConfig adds AWS_CA_BUNDLE to it
		config.WithRetryer(newRetryer),
		// What Amazon made the default in 2025 other services do not know. Without it
		// the signature has the SHA-256 of what is sent, which all of them check.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	)
	if at.region != "" {
		cfg.Region = at.region
	}
	if cfg.Region == "" && at.endpoint != "" {
		cfg.Region = "us-east-1" // what services with one region call it
	}
	if err == nil && cfg.Region == "" {
		err = refuse("it has no region, and AWS_REGION is not set")
	}
	return cfg, err
}

// newRetryer tries again what may succeed, a few times and soon: more patience is the
// caller's, who can say what waits. The quota that the SDK keeps by default makes the first
// calls after an outage fail without having been tried.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.Backoff = retry.BackoffDelayerFunc(backoff)
		o.RateLimiter = ratelimit.None
		o.Retryables = append(o.Retryables,
			retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusTooManyRequests: {}}},
			retry.RetryableErrorCode{Codes: map[string]struct{}{"ConditionalRequestConflict": {}}})
	})
}

// backoff is how long to wait after a failed attempt, counted from 1: half of it by lot, so
// that many who were refused at once do not come back at once.
func backoff(attempt int, _ error) (time.Duration, error) {
	most := firstBackoff << (2 * min(max(attempt-1, 0), attempts))
	return most/2 + mathrand.N(most/2), nil
}

// systemProxy is what the environment said when the process began: the agent takes it away
// from everything else (see the function WithoutProxies of package agent).
var systemProxy = httpproxy.FromEnvironment().ProxyFunc()

// transport returns the connections that client would use, with our limits.
func transport(client aws.HTTPClient) *http.Transport {
	c, ok := client.(*awshttp.BuildableClient)
	if !ok {
		c = awshttp.NewBuildableClient()
	}
	t := c.GetTransport()
	t.Proxy = func(r *http.Request) (*url.URL, error) { return systemProxy(r.URL) }
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: answerTimeout}).DialContext
	t.ResponseHeaderTimeout = answerTimeout
	t.MaxIdleConnsPerHost = 16
	return t
}

// Put implements [Store].
func (b *bucket) Put(ctx context.Context, name string, data []byte) error {
	if err := checkData(name, data); err != nil {
		return err
	}
	if _, err := b.client.PutObject(ctx, b.object(name, data)); err != nil {
		return b.failed("put", name, err)
	}
	return nil
}

// object is the request that puts one.
func (b *bucket) object(name string, data []byte) *s3.PutObjectInput {
	return &s3.PutObjectInput{
		Bucket:      &b.name,
		Key:         aws.String(b.prefix + name),
		Body:        bytes.NewReader(data),
		ContentType: aws.String("application/octet-stream"),
	}
}

// Create implements [Store]. When a first attempt did its work and its answer was lost,
// the next one finds the object there: the metadata tell that it is ours (O2).
func (b *bucket) Create(ctx context.Context, name string, data []byte) error {
	if err := checkData(name, data); err != nil {
		return err
	}
	in, token := b.object(name, data), strings.ToLower(rand.Text())
	in.IfNoneMatch = aws.String("*")
	in.Metadata = map[string]string{creator: token}
	_, err := b.client.PutObject(ctx, in)
	if err != nil && answerOf(err).status == http.StatusPreconditionFailed {
		return b.created(ctx, name, token)
	}
	if err != nil {
		return b.failed("create", name, err)
	}
	return nil
}

// created says whether the object that is there is the one with token.
func (b *bucket) created(ctx context.Context, name, token string) error {
	head, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: aws.String(b.prefix + name)})
	switch {
	case err != nil:
		return fmt.Errorf("create %s: it was there, and now cannot be looked at: %w", name, answerOf(err))
	case head.Metadata[creator] != token:
		return fmt.Errorf("create %s: %w", name, ballast.ErrExists)
	}
	return nil
}

// Get implements [Store].
func (b *bucket) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if err := checkRange(name, off, n); err != nil {
		return nil, err
	}
	in := &s3.GetObjectInput{Bucket: &b.name, Key: aws.String(b.prefix + name)}
	switch {
	case n > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	case off > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", off))
	}
	out, err := b.client.GetObject(ctx, in)
	if err != nil {
		return nil, b.failed("get", name, err)
	}
	defer out.Body.Close()
	data, err := readRange(out, off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

// readRange reads the answer to a Get, and holds it to what was asked for: a service may
// ignore the range, or send less.
func readRange(out *s3.GetObjectOutput, off, n int64) ([]byte, error) {
	size := aws.ToInt64(out.ContentLength)
	if off > 0 || n > 0 {
		first, total, ok := parseContentRange(aws.ToString(out.ContentRange))
		if !ok || first != off {
			return nil, fmt.Errorf("bytes from %d on were asked for, and the store sent %.60q", off, aws.ToString(out.ContentRange))
		}
		size = total
	}
	n, err := within(off, n, size)
	if err != nil {
		return nil, err
	}
	data := make([]byte, n)
	if got, err := io.ReadFull(out.Body, data); err != nil {
		return nil, fmt.Errorf("the store sent %d bytes of %d: %w", got, n, errors.Join(io.ErrUnexpectedEOF, err))
	}
	return data, nil
}

func parseContentRange(text string) (first, total int64, ok bool) {
	var last int64
	n, err := fmt.Sscanf(text, "bytes %d-%d/%d", &first, &last, &total)
	return first, total, err == nil && n == 3 && first >= 0 && first <= last && last < total
}

// List implements [Store].
func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		err := checkPrefix(prefix)
		if err == nil {
			err = b.pages(ctx, prefix, func(o Object) bool { return yield(o, nil) })
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Object{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

// pages visits the objects below prefix. The order of the names is checked, so that a
// service that repeats itself does not keep us for ever.
func (b *bucket) pages(ctx context.Context, prefix string, visit func(Object) bool) error {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: aws.String(b.prefix + prefix)},
		func(o *s3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
	last := ""
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return answerOf(err)
		}
		for _, o := range page.Contents {
			if last, err = b.visit(o, last, prefix, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit hands on one object of a listing, and returns its key.
func (b *bucket) visit(o types.Object, last, prefix string, visit func(Object) bool) (string, error) {
	key := aws.ToString(o.Key)
	name, ok := strings.CutPrefix(key, b.prefix)
	switch {
	case key <= last:
		return "", fmt.Errorf("the store's listing has %.200q after %.200q", key, last)
	case !ok || !strings.HasPrefix(name, prefix):
		return "", fmt.Errorf("the store's listing has %.200q, which was not asked for", key)
	case isName(name) && !visit(Object{name, aws.ToInt64(o.Size)}):
		return "", errStopped
	}
	return key, nil
}

// Delete implements [Store].
func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: aws.String(b.prefix + name)})
	if err = b.failed("delete", name, err); errors.Is(err, ballast.ErrNotFound) {
		return nil
	}
	return err
}

// Close implements [Store].
func (b *bucket) Close() error {
	b.http.CloseIdleConnections()
	return nil
}
