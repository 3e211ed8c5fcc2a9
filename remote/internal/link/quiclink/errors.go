package quiclink

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/quic-go/quic-go"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

var errPeerReset = fmt.Errorf("%w by the peer", link.ErrReset)

// plain puts quic-go's errors into this project's words. What it does not know, such as io.EOF and a context's, stays as it is.
func plain(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, quic.ErrWouldBlock):
		return link.ErrWouldBlock
	case errors.Is(err, quic.ErrStreamClosed):
		return fmt.Errorf("remote: the stream's writing side was closed: %w", err)
	case errors.Is(err, quic.ErrTransportClosed), errors.Is(err, quic.ErrServerClosed):
		return link.ErrClosed
	}
	if e, ok := errors.AsType[*quic.StreamError](err); ok {
		if e.Remote {
			return errPeerReset
		}
		return link.ErrReset
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		if e.Remote {
			return &link.CloseError{Code: uint64(e.ErrorCode), Text: strings.ToValidUTF8(e.ErrorMessage, "?")}
		}
		return link.ErrClosed
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok {
		return plainTransport(e)
	}
	if _, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return fmt.Errorf("remote: nothing comes from the peer any more: %w", err)
	}
	if _, ok := errors.AsType[*quic.HandshakeTimeoutError](err); ok {
		return fmt.Errorf("remote: the peer does not go through with the handshake: %w", err)
	}
	return err
}

// cryptoErrors are the codes that carry TLS alerts.
const cryptoErrors, cryptoErrorsEnd = 0x100, 0x200

func plainTransport(e *quic.TransportError) error {
	crypto := e.ErrorCode >= cryptoErrors && e.ErrorCode < cryptoErrorsEnd
	switch {
	case crypto && e.Remote:
		return fmt.Errorf("remote: the peer has refused the handshake (%s): %w", hint(uint8(e.ErrorCode)), e)
	case crypto:
		return fmt.Errorf("remote: the handshake has failed: %w", e)
	case e.ErrorCode == quic.ConnectionRefused && e.Remote:
		return fmt.Errorf("remote: the peer takes no connections at the moment, try again later: %w", e)
	}
	return fmt.Errorf("remote: QUIC: %w", e)
}

// hint says what a TLS alert mostly means here; the alert is all that TLS tells who was refused.
func hint(alert uint8) string {
	switch alert {
	case 42, 43, 46: // bad, unsupported, unknown certificate
		return "it does not take this node's certificate: not from an authority that it trusts, or for another name or purpose; its log says which"
	case 44:
		return "this node's certificate is revoked"
	case 45:
		return "this node's certificate has expired"
	case 48:
		return "this node's certificate is from an authority that it does not trust"
	case 49:
		return "this node's certificate does not allow it"
	case 116:
		return "it asks for a certificate and this node has none"
	case 120:
		return "it does not speak " + ALPN
	}
	return "see its log"
}

// fit cuts a text to what goes into one packet beside the rest.
func fit(text string) string {
	const longest = 512
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "..."
}
