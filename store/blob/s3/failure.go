package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/minio/minio-go/v7"

	"github.com/cofferhq/coffer"
)

// code returns what S3 calls the error with which the server answered, or nothing.
func code(err error) string { return minio.ToErrorResponse(err).Code }

// absent reports whether the server said that there is no such object, in a bucket that is there. Not all that is HTTP
// 404 does: some servers say so of access keys.
func absent(err error) bool { return code(err) == minio.NoSuchKey }

// taken reports whether the server refused to put what is there.
func taken(err error) bool {
	return minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed
}

// transient reports whether a request that failed may do better when it is made again.
func transient(err error) bool {
	switch status := minio.ToErrorResponse(err).StatusCode; {
	case errors.Is(err, http.ErrSchemeMismatch):
		return false
	case status == 0: // no answer
		return true
	default:
		return status >= 500 && status != http.StatusNotImplemented ||
			status == http.StatusTooManyRequests || status == http.StatusRequestTimeout ||
			status == http.StatusConflict // with something else that goes on, says Amazon S3
	}
}

// failure returns an error of minio-go as one of ours: NotExist when the object is not there, else Unavailable. What
// the server says holds the names of objects and is not repeated. A nil error stays nil.
func failure(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return coffer.E(op, coffer.Unavailable, ctx.Err())
	case absent(err):
		return coffer.E(op, coffer.NotExist, nil)
	}
	_, reason := explain(err)
	return coffer.Errorf(op, coffer.Unavailable, reason)
}

// refusal returns an error of minio-go as Open returns it.
func refusal(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return coffer.E(op, coffer.Unavailable, ctx.Err())
	}
	kind, reason := explain(err)
	return coffer.Errorf(op, kind, reason)
}

// explain says in a sentence what is wrong, and its kind.
func explain(err error) (coffer.Kind, string) {
	r := minio.ToErrorResponse(err)
	switch r.Code {
	case minio.NoSuchBucket:
		return coffer.NotExist, "the bucket does not exist: make it at the server, or correct its name"
	case "InvalidAccessKeyId", "XAdminUserNotFound": // the second is what versitygw says
		return coffer.Denied, "the server does not know the access key"
	case "SignatureDoesNotMatch":
		return coffer.Denied, "the secret is not the access key's"
	case "ExpiredToken", "ExpiredTokenException", "InvalidToken":
		return coffer.Denied, "the token of the temporary credentials is no longer good"
	case "RequestTimeTooSkewed", "RequestExpired":
		return coffer.Invalid, "this machine's clock and the server's differ too much: set them"
	case minio.AuthorizationHeaderMalformed, minio.InvalidRegion, "PermanentRedirect", "TemporaryRedirect",
		"IllegalLocationConstraintException", "InvalidLocationConstraint":
		return coffer.Invalid, "the bucket is in another region: name it with ?region=…"
	case "BucketAlreadyExists":
		return coffer.Denied, "the bucket belongs to somebody else: choose another name"
	case minio.AccessDenied:
		return coffer.Denied, "the access key has not all rights it needs: to get, put, list and delete objects of the bucket"
	}
	switch status := r.StatusCode; {
	case status == http.StatusBadRequest && strings.Contains(r.Message, "HTTPS"):
		return coffer.Invalid, "the server speaks TLS on this port: write s3:// in place of s3+http://"
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return coffer.Denied, "the server does not let the access key do this"
	case status >= 300 && status < 400:
		return coffer.Invalid, "the server sends us elsewhere: correct its address or name the region with ?region=…"
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		return coffer.Unavailable, "the server is too busy, or down for a while"
	case status != 0:
		return coffer.Unavailable, "the server refuses or fails (HTTP " + strconv.Itoa(status) + ")"
	}
	var (
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		header      tls.RecordHeaderError
		alert       tls.AlertError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &header):
		return coffer.Invalid, "the server does not speak TLS on this port: write s3+http:// in place of s3://"
	case errors.As(err, &certificate):
		return coffer.Invalid, "the server's certificate is not trusted here, not in force or not for this host"
	case errors.As(err, &alert):
		return coffer.Invalid, "the server and we cannot agree on how to use TLS"
	case errors.As(err, &dns):
		return coffer.Unavailable, "the server's host name is not known here"
	case errors.Is(err, syscall.ECONNREFUSED):
		return coffer.Unavailable, "nothing listens at the server's address"
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return coffer.Unavailable, "there is no way to the server's address"
	case errors.Is(err, errSilent), errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded):
		return coffer.Unavailable, "the server does not answer in time"
	}
	return coffer.Unavailable, "the connection to the server broke, or it answered something else than S3"
}
