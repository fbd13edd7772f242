package play

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
)

// cases are what the connecting side can play; each returns what it saw, for the report.
var cases = map[string]func(s *side, streams, size int) (string, error){
	"echo":            echo,
	"half-close":      halfClose,
	"both-open":       bothOpen,
	"reset":           reset,
	"reset-by-peer":   resetByPeer,
	"ping":            ping,
	"ping-by-peer":    pingByPeer,
	"go-away":         sendGoAway,
	"go-away-by-peer": goAwayByPeer,
	"refused":         refused,
}

func caseNames() []string {
	return slices.Sorted(maps.Keys(cases))
}

// echo: many streams at once, each to its end and back.
func echo(s *side, streams, size int) (string, error) {
	results := make(chan error, streams)
	for range streams {
		go func() { results <- s.roundTrip(size) }()
	}
	for range streams {
		if err := <-results; err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d x %d", streams, size), nil
}

// halfClose: the answer comes only after our end.
func halfClose(s *side, _, size int) (string, error) {
	stream, err := s.command(countIt)
	if err != nil {
		return "", err
	}
	data := pattern(size)
	if _, err := stream.Write(data); err != nil {
		return "", err
	}
	if err := stream.CloseWrite(); err != nil {
		return "", err
	}
	sum := fnv.New64a()
	sum.Write(data)
	return "", expectRest(stream, fmt.Sprintf("%d %016x", size, sum.Sum64()))
}

// bothOpen: the peer opens a stream towards us.
func bothOpen(s *side, _, _ int) (string, error) {
	stream, err := s.command(openBack)
	if err != nil {
		return "", err
	}
	return "", expectRest(stream, "ok")
}

// reset: we reset a stream, the peer's reader must not take that for the end.
func reset(s *side, _, _ int) (string, error) {
	stream, err := s.command(watchIt)
	if err != nil {
		return "", err
	}
	// A reset may overtake what was written: the command must have arrived.
	if err := expect(stream, "ready"); err != nil {
		return "", err
	}
	if _, err := stream.Write(pattern(1000)); err != nil {
		return "", err
	}
	if err := stream.Reset(); err != nil {
		return "", err
	}
	asked, err := s.command(tellEnd)
	if err != nil {
		return "", err
	}
	saw, err := io.ReadAll(asked)
	return "saw " + string(saw), err
}

// resetByPeer: the peer resets a stream under us; writing must fail sooner or later.
func resetByPeer(s *side, _, _ int) (string, error) {
	stream, err := s.command(resetIt)
	if err != nil {
		return "", err
	}
	block := pattern(1000)
	for range 100_000 {
		if _, err := stream.Write(block); err != nil {
			return "", s.roundTrip(100)
		}
	}
	return "", errors.New("100 MB were written to a stream that the peer has reset")
}

func ping(s *side, _, _ int) (string, error) {
	for range 3 {
		if err := s.session.Ping(); err != nil {
			return "", err
		}
	}
	return "", nil
}

func pingByPeer(s *side, _, _ int) (string, error) {
	stream, err := s.command(pingBack)
	if err != nil {
		return "", err
	}
	return "", expectRest(stream, "ok")
}

// sendGoAway: the peer opens nothing more, the streams that are there go on.
func sendGoAway(s *side, _, _ int) (string, error) {
	stream, err := s.command(openUnder)
	if err != nil {
		return "", err
	}
	if err := expect(stream, "ready"); err != nil {
		return "", err
	}
	if err := s.session.GoAway(); err != nil {
		return "", err
	}
	if _, err := stream.Write([]byte{'x'}); err != nil {
		return "", err
	}
	said, err := io.ReadAll(stream)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(string(said), "refused") {
		return "", fmt.Errorf("after our go-away the peer said %q", said)
	}
	return string(said), nil
}

// goAwayByPeer: we can open nothing more, the streams that are there go on.
func goAwayByPeer(s *side, _, _ int) (string, error) {
	stream, err := s.command(goAway)
	if err != nil {
		return "", err
	}
	if err := expect(stream, "gone"); err != nil {
		return "", err
	}
	if err := s.roundTrip(1); err == nil {
		return "", errors.New("a stream was opened after the peer's go-away")
	}
	if _, err := stream.Write([]byte("still here")); err != nil {
		return "", err
	}
	return "", expect(stream, "still here")
}

// refused: more streams than the peer's backlog holds while it accepts none.
func refused(s *side, _, _ int) (string, error) {
	const opened = 12
	holder, err := s.command(holdAccept)
	if err != nil {
		return "", err
	}
	if err := expect(holder, "held"); err != nil {
		return "", err
	}
	results := make(chan error, opened)
	for range opened {
		go func() { results <- s.roundTrip(100) }()
	}
	count, served := 0, 0
	for range opened {
		if err := <-results; err == nil {
			served++
			// One may have been on its way when the peer began to hold.
			if count == 0 && served > 1 {
				return "", errors.New("streams were served while none was accepted")
			}
			continue
		}
		count++
		if count == 1 {
			// Now the others may be accepted.
			if err := holder.CloseWrite(); err != nil {
				return "", err
			}
		}
	}
	if count == opened {
		return "", errors.New("no stream was left in the backlog")
	}
	return fmt.Sprintf("%d of %d", count, opened), s.roundTrip(100)
}

// command opens a stream and says what its acceptor shall do.
func (s *side) command(command byte) (Stream, error) {
	stream, err := s.session.Open()
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if _, err := stream.Write([]byte{command}); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	return stream, nil
}

// roundTrip has one stream's bytes echoed, from its opening to both ends.
func (s *side) roundTrip(size int) error {
	stream, err := s.session.Open()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	data := append([]byte{echoIt}, pattern(size)...)
	written := make(chan error, 1)
	go func() {
		_, err := stream.Write(data)
		if err == nil && !s.options.CloseLate {
			err = stream.CloseWrite()
		}
		written <- err
	}()
	back := make([]byte, len(data))
	if n, err := io.ReadFull(stream, back); err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	if err := <-written; err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if s.options.CloseLate {
		if err := stream.CloseWrite(); err != nil {
			return err
		}
	}
	if !bytes.Equal(back, data) {
		return errors.New("the echo differs from what was sent")
	}
	return expectRest(stream, "")
}

func expect(stream Stream, text string) error {
	said := make([]byte, len(text))
	if _, err := io.ReadFull(stream, said); err != nil {
		return err
	}
	if string(said) != text {
		return fmt.Errorf("the peer said %q, not %q", said, text)
	}
	return nil
}

func expectRest(stream Stream, text string) error {
	said, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	if string(said) != text {
		return fmt.Errorf("the peer said %q, not %q", said, text)
	}
	return nil
}

// pattern is bytes that differ by position, the same for the same size.
func pattern(size int) []byte {
	data := make([]byte, size)
	state := uint32(size) | 1
	for i := range data {
		state = state*1664525 + 1013904223
		data[i] = byte(state >> 24)
	}
	return data
}
