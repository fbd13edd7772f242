package main

import (
	"context"
	"io"
	"net"

	yamux "github.com/libp2p/go-yamux/v5"

	"towline.dev/interop/mux/play"
)

func v5() play.Mux {
	config := func(options play.Options) *yamux.Config {
		config := yamux.DefaultConfig()
		config.LogOutput = io.Discard
		if options.Backlog > 0 {
			config.AcceptBacklog = options.Backlog
		}
		return config
	}
	return play.Mux{
		Name: "v5",
		Client: func(conn net.Conn, options play.Options) (play.Session, error) {
			inner, err := yamux.Client(conn, config(options), nil)
			return sessionv5{inner}, err
		},
		Server: func(conn net.Conn, options play.Options) (play.Session, error) {
			inner, err := yamux.Server(conn, config(options), nil)
			return sessionv5{inner}, err
		},
	}
}

type sessionv5 struct{ inner *yamux.Session }

func (s sessionv5) Open() (play.Stream, error) {
	return s.inner.OpenStream(context.Background())
}

func (s sessionv5) Accept() (play.Stream, error) { return s.inner.AcceptStream() }

func (s sessionv5) Ping() error {
	_, err := s.inner.Ping()
	return err
}

func (s sessionv5) GoAway() error { return s.inner.GoAway() }
func (s sessionv5) Close() error  { return s.inner.Close() }
