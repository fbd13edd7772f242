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
			return forkStart(muxado.Client(conn, config(options)), options), nil
		},
		Server: func(conn net.Conn, options play.Options) (play.Session, error) {
			return forkStart(muxado.Server(conn, config(options)), options), nil
		},
	}
}

func forkStart(inner muxado.Session, options play.Options) play.Session {
	if !options.Heartbeat {
		return forkSession{inner}
	}
	beats := make(chan struct{}, 1)
	typed := muxado.NewTypedStreamSession(inner)
	heartbeat := muxado.NewHeartbeat(typed, func(_ time.Duration, timedOut bool) {
		if !timedOut {
			select {
			case beats <- struct{}{}:
			default:
			}
		}
	}, &muxado.HeartbeatConfig{Interval: 20 * time.Millisecond, Tolerance: 10 * time.Second, Type: 0xFFFFFFFF})
	heartbeat.Start()
	return forkHeartbeat{heartbeat, beats}
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

// forkHeartbeat is a session of typed streams on which heartbeats run; each beat counts as a ping.
type forkHeartbeat struct {
	inner *muxado.Heartbeat
	beats chan struct{}
}

func (s forkHeartbeat) Open() (play.Stream, error) {
	opened, err := s.inner.OpenTypedStream(1)
	return forkStream{opened}, err
}

func (s forkHeartbeat) Accept() (play.Stream, error) {
	accepted, err := s.inner.AcceptTypedStream()
	return forkStream{accepted}, err
}

func (s forkHeartbeat) Ping() error {
	<-s.beats
	return nil
}

func (s forkHeartbeat) GoAway() error { return play.ErrNoOperation }
func (s forkHeartbeat) Close() error  { return s.inner.Close() }
