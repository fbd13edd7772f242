package main

import (
	"net"
	"time"

	"golang.ngrok.com/muxado/v2"

	"towline.dev/interop/mux/play"
)

func fork() play.Mux {
	config := func(options play.Options) *muxado.Config {
		return &muxado.Config{AcceptBacklog: uint32(options.Backlog)}
	}
	return play.Mux{
		Name: "ngrok",
		Client: func(conn net.Conn, options play.Options) (play.Session, error) {
			return forkSession{muxado.Client(conn, config(options))}, nil
		},
		Server: func(conn net.Conn, options play.Options) (play.Session, error) {
			return forkSession{muxado.Server(conn, config(options))}, nil
		},
	}
}

type forkSession struct{ inner muxado.Session }

func (s forkSession) Open() (play.Stream, error) {
	opened, err := s.inner.OpenStream()
	return forkStream{opened}, err
}

func (s forkSession) Accept() (play.Stream, error) {
	accepted, err := s.inner.AcceptStream()
	return forkStream{accepted}, err
}

func (s forkSession) Ping() error { return play.ErrNoOperation }

// GoAway is on the session itself, not in the package's interface.
func (s forkSession) GoAway() error {
	inner, ok := s.inner.(interface {
		GoAway(muxado.ErrorCode, []byte, time.Time) error
	})
	if !ok {
		return play.ErrNoOperation
	}
	return inner.GoAway(muxado.NoError, nil, time.Now().Add(time.Second))
}

func (s forkSession) Close() error { return s.inner.Close() }

type forkStream struct{ muxado.Stream }

// Reset is as near as the package comes: the stream is forgotten, and whatever still arrives for it is answered
// by a reset.
func (s forkStream) Reset() error { return s.Close() }
