// Package play is what every Go multiplexer of interop/mux plays against towline: the side that
// listens answers commands, the side that connects plays a case and says how it went.
package play

import (
	"errors"
	"io"
	"net"
)

// ErrNoOperation is returned by a multiplexer that does not have what it is asked for.
var ErrNoOperation = errors.New("this multiplexer has no such operation")

// Stream is one stream of a multiplexer.
type Stream interface {
	io.ReadWriteCloser
	// CloseWrite ends our direction only.
	CloseWrite() error
	// Reset ends both directions at once; the peer sees an error.
	Reset() error
}

// Session is one connection of a multiplexer.
type Session interface {
	Open() (Stream, error)
	Accept() (Stream, error)
	Ping() error
	GoAway() error
	Close() error
}

// Options is what a case changes of a multiplexer's configuration or of the play.
type Options struct {
	// Backlog is how many streams may wait to be accepted; 0 leaves the default.
	Backlog int
	// CloseLate ends a stream only when all of its echo is there, for multiplexers that cannot go on with a
	// stream of which one direction has ended.
	CloseLate bool
	// Heartbeat puts muxado's typed streams and heartbeats on top: what it has instead of a ping.
	Heartbeat bool
}

// Mux is one version of one multiplexer.
type Mux struct {
	Name   string
	Client func(net.Conn, Options) (Session, error)
	Server func(net.Conn, Options) (Session, error)
}
