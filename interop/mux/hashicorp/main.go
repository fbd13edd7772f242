// The multiplexer hashicorp/yamux, in the version of the module file it is built with.
package main

import (
	"io"
	"net"

	"github.com/hashicorp/yamux"

	"towline.dev/interop/mux/play"
)

func main() {
	with := func(wrap func(io.ReadWriteCloser, *yamux.Config) (*yamux.Session, error)) func(net.Conn, play.Options) (play.Session, error) {
		return func(conn net.Conn, options play.Options) (play.Session, error) {
			config := yamux.DefaultConfig()
			config.LogOutput = io.Discard
			if options.Backlog > 0 {
				config.AcceptBacklog = options.Backlog
			}
			inner, err := wrap(conn, config)
			return session{inner}, err
		}
	}
	play.Main(play.Mux{
		Name:   "hashicorp",
		Client: with(yamux.Client),
		Server: with(yamux.Server),
	})
}

type session struct{ inner *yamux.Session }

func (s session) Open() (play.Stream, error) {
	opened, err := s.inner.OpenStream()
	return stream{opened}, err
}

func (s session) Accept() (play.Stream, error) {
	accepted, err := s.inner.AcceptStream()
	return stream{accepted}, err
}

func (s session) Ping() error {
	_, err := s.inner.Ping()
	return err
}

func (s session) GoAway() error { return s.inner.GoAway() }
func (s session) Close() error  { return s.inner.Close() }

type stream struct{ *yamux.Stream }

// CloseWrite is Close: it ends the own direction only.
func (s stream) CloseWrite() error { return s.Close() }
func (s stream) Reset() error      { return play.ErrNoOperation }
