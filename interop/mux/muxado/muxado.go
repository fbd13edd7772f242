package main

import (
	"net"
	"time"

	"github.com/inconshreveable/muxado"

	"towline.dev/interop/mux/play"
)

func original() play.Mux {
	config := func(options play.Options) *muxado.Config {
		return &muxado.Config{AcceptBacklog: uint32(options.Backlog)}
	}
	return play.Mux{
		Name: "muxado",
		Client: func(conn net.Conn, options play.Options) (play.Session, error) {
			return originalStart(muxado.Client(conn, config(options)), options), nil
		},
		Server: func(conn net.Conn, options play.Options) (play.Session, error) {
			return originalStart(muxado.Server(conn, config(options)), options), nil
		},
	}
}

func originalStart(inner muxado.Session, options play.Options) play.Session {
	if !options.Heartbeat {
		return originalSession{inner}
	}
	beats := make(chan struct{}, 1)
	typed := muxado.NewTypedStreamSession(inner)
	heartbeat := muxado.NewHeartbeat(typed, func(latency time.Duration) {
		if latency > 0 {
			select {
			case beats <- struct{}{}:
			default:
			}
		}
	}, &muxado.HeartbeatConfig{Interval: 20 * time.Millisecond, Tolerance: 10 * time.Second, Type: 0xFFFFFFFF})
	heartbeat.Start()
	return originalHeartbeat{heartbeat, beats}
}

type originalSession struct{ inner muxado.Session }

func (s originalSession) Open() (play.Stream, error) {
	opened, err := s.inner.OpenStream()
	return originalStream{opened}, err
}

func (s originalSession) Accept() (play.Stream, error) {
	accepted, err := s.inner.AcceptStream()
	return originalStream{accepted}, err
}

func (s originalSession) Ping() error { return play.ErrNoOperation }

// GoAway is on the session itself, not in the package's interface.
func (s originalSession) GoAway() error {
	inner, ok := s.inner.(interface {
		GoAway(muxado.ErrorCode, []byte, time.Time) error
	})
	if !ok {
		return play.ErrNoOperation
	}
	return inner.GoAway(muxado.NoError, nil, time.Now().Add(time.Second))
}

func (s originalSession) Close() error { return s.inner.Close() }

type originalStream struct{ muxado.Stream }

// Reset is as near as the package comes: the stream is forgotten, and whatever still arrives for it is answered
// by a reset.
func (s originalStream) Reset() error { return s.Close() }

// originalHeartbeat is a session of typed streams on which heartbeats run; each beat counts as a ping.
type originalHeartbeat struct {
	inner *muxado.Heartbeat
	beats chan struct{}
}

func (s originalHeartbeat) Open() (play.Stream, error) {
	opened, err := s.inner.OpenTypedStream(1)
	return originalStream{opened}, err
}

func (s originalHeartbeat) Accept() (play.Stream, error) {
	accepted, err := s.inner.AcceptTypedStream()
	return originalStream{accepted}, err
}

func (s originalHeartbeat) Ping() error {
	<-s.beats
	return nil
}

func (s originalHeartbeat) GoAway() error { return play.ErrNoOperation }
func (s originalHeartbeat) Close() error  { return s.inner.Close() }
