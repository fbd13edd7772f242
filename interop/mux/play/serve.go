package play

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
)

// The commands: the first byte of a stream says what its acceptor does with it.
const (
	echoIt     = 'e' // send back everything, this byte too, then close
	countIt    = 'c' // read to the end, then send how many bytes there were, and their FNV-1a sum
	resetIt    = 'r' // reset the stream
	watchIt    = 'R' // send "ready", read to the end and keep in mind which end it was
	tellEnd    = 'q' // send what 'R' kept in mind
	pingBack   = 'p' // ping the opener, send "ok" or the error
	goAway     = 'g' // send a go-away, then "gone", then go on as for 'e'
	openUnder  = 'G' // send "ready", read one byte, then try to open a stream: "opened" or "refused: …"
	openBack   = 'o' // open a stream with 'e' and 64 KiB, send "ok" or the error
	holdAccept = 'h' // accept nothing more, send "held", and go on once this stream has ended
)

// side is one end of a session, with what it does for its peer.
type side struct {
	options Options
	session Session
	// accepting is held by whoever keeps streams from being accepted.
	accepting sync.Mutex
	ends      chan string
}

func newSide(options Options, session Session) *side {
	return &side{options: options, session: session, ends: make(chan string, 16)}
}

// acceptAll serves streams until the session ends, and returns why it ended.
func (s *side) acceptAll() error {
	for {
		s.accepting.Lock()
		//lint:ignore SA2001 only whether somebody else holds it matters
		s.accepting.Unlock()
		stream, err := s.session.Accept()
		if err != nil {
			return err
		}
		go s.serve(stream)
	}
}

func (s *side) serve(stream Stream) {
	command := []byte{0}
	if _, err := io.ReadFull(stream, command); err != nil {
		return
	}
	switch command[0] {
	case echoIt:
		s.echo(stream, command)
	case countIt:
		sum := fnv.New64a()
		count, err := io.Copy(sum, stream)
		if err != nil {
			return
		}
		reply(stream, fmt.Sprintf("%d %016x", count, sum.Sum64()))
	case resetIt:
		if errors.Is(stream.Reset(), ErrNoOperation) {
			reply(stream, ErrNoOperation.Error())
		}
	case watchIt:
		if _, err := stream.Write([]byte("ready")); err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, stream); err != nil {
			s.ends <- "reset"
		} else {
			s.ends <- "eof"
		}
	case tellEnd:
		reply(stream, <-s.ends)
	case pingBack:
		reply(stream, verdict(s.session.Ping()))
	case goAway:
		if err := s.session.GoAway(); err != nil {
			reply(stream, err.Error())
			return
		}
		s.echo(stream, []byte("gone"))
	case openUnder:
		s.openUnderGoAway(stream)
	case openBack:
		reply(stream, verdict(s.roundTrip(64<<10)))
	case holdAccept:
		s.accepting.Lock()
		defer s.accepting.Unlock()
		if _, err := stream.Write([]byte("held")); err == nil {
			io.Copy(io.Discard, stream)
			stream.CloseWrite()
		}
	default:
		stream.Reset()
	}
}

// echo sends these bytes, then back what comes until the peer closes its direction.
func (s *side) echo(stream Stream, first []byte) {
	if _, err := stream.Write(first); err != nil {
		return
	}
	block := make([]byte, 32<<10)
	for {
		n, err := stream.Read(block)
		if n > 0 {
			if _, err := stream.Write(block[:n]); err != nil {
				return
			}
		}
		if err == io.EOF {
			stream.CloseWrite()
			return
		}
		if err != nil {
			return
		}
	}
}

func (s *side) openUnderGoAway(stream Stream) {
	if _, err := stream.Write([]byte("ready")); err != nil {
		return
	}
	if _, err := io.ReadFull(stream, []byte{0}); err != nil {
		return
	}
	if err := s.roundTrip(1); err != nil {
		reply(stream, "refused: "+err.Error())
	} else {
		reply(stream, "opened")
	}
}

func reply(stream Stream, text string) {
	if _, err := io.WriteString(stream, text); err == nil {
		stream.CloseWrite()
	}
}

func verdict(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}
