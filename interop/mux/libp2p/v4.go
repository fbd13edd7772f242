package main

import (
	"context"
	"io"
	"net"

	yamux "github.com/libp2p/go-yamux/v4"

	"towline.dev/interop/mux/play"
)

func v4() play.Mux {
	config := func(options play.Options) *yamux.Config {
		config := yamux.DefaultConfig()
		config.LogOutput = io.Discard
		if options.Backlog > 0 {
			config.AcceptBacklog = options.Backlog
		}
		return config
	}
	return play.Mux{
		Name: "v4",
		Client: func(conn net.Conn, options play.Options) (play.Session, error) {
			inner, err := yamux.Client(conn, config(options), nil)
			return sessionv4{inner}, err
		},
		Server: func(conn net.Conn, options play.Options) (play.Session, error) {
			inner, err := yamux.Server(conn, config(options), nil)
			return sessionv4{inner}, err
		},
	}
}

type sessionv4 struct{ inner *yamux.Session }

func (s sessionv4) Open() (play.Stream, error) {
	return s.inner.OpenStream(context.Background())
}

func (s sessionv4) Accept() (play.Stream, error) { return s.inner.AcceptStream() }

func (s sessionv4) Ping() error {
	_, err := s.inner.Ping()
	return err
}

func (s sessionv4) GoAway() error { return s.inner.GoAway() }
func (s sessionv4) Close() error  { return s.inner.Close() }
