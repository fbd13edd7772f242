package main

import (
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"towline.dev/interop/swp/play"
)

type state int

const (
	listening state = iota
	opening
	answering // A SYN has come.
	open
)

// Times of docs/wire W15, W19, W37, W38, W41, W42, W44.
const (
	tick           = 2 * time.Millisecond
	synFirst       = 250 * time.Millisecond
	synLongest     = 4 * time.Second
	synAckEach     = time.Second
	ackDelay       = 5 * time.Millisecond
	timeoutLeast   = 20 * time.Millisecond
	timeoutMost    = 10 * time.Second
	timeoutFirst   = 500 * time.Millisecond
	keepAliveEach  = 500 * time.Millisecond
	keepAliveStuck = 100 * time.Millisecond
	deadAfter      = 25 * time.Second
	finEach        = 200 * time.Millisecond
	finTimes       = 4
	answersAfter   = time.Second
)

// Repeats of an ESTABACK that answers a SYN (docs/wire W16).
var crossedRepeats = []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 350 * time.Millisecond, 750 * time.Millisecond}

// session is one end, as docs/wire has it. It does without the extension.
type session struct {
	options play.Options
	nc      *nats.Conn

	sync.Mutex
	changed *sync.Cond
	failed  error

	state            state
	nonce, peerNonce string
	handshake        timer
	repeats          []time.Time
	lastStamp        time.Time
	lastHeard        time.Time
	lastSaid         time.Time

	// Sending: what is not acknowledged, from number first on.
	first, next           int64
	waiting               []*transmission
	sentBytes, ackedBytes int64
	edge, edgeBytes       int64
	smoothed, deviation   time.Duration
	finSent               int
	finNext               time.Time
	finAcked, finReceived bool

	// Receiving.
	expected             int64
	held                 map[int64][]byte
	ready                [][]byte
	heldBytes, readySize int64
	unanswered           *packet
	unansweredSince      time.Time
	toldEdge             int64
}

// transmission is a data packet that is not acknowledged.
type transmission struct {
	packet  packet
	timeout time.Duration
	arrived bool
}

type timer struct {
	at    time.Time
	after time.Duration
}

func start(options play.Options) (play.Session, error) {
	nc, err := nats.Connect(options.URL, nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	s := &session{
		options: options, nc: nc, nonce: newNonce(), edge: -1, held: map[int64][]byte{}, toldEdge: -1,
		lastHeard: time.Now(),
	}
	s.changed = sync.NewCond(s)
	// docs/wire W1: heard before anything is sent.
	subscription, err := nc.Subscribe(options.Local, func(m *nats.Msg) {
		if p, err := decode(m.Data); err == nil {
			s.Lock()
			s.handle(p)
			s.changed.Broadcast()
			s.Unlock()
		}
	})
	if err != nil {
		return nil, err
	}
	if err := subscription.SetPendingLimits(int(2*options.Window+64), int(2*options.Bytes)+(2<<20)); err != nil {
		return nil, err
	}
	if err := nc.Flush(); err != nil {
		return nil, err
	}
	go s.run()
	if !options.Connect {
		return s, nil
	}
	s.Lock()
	defer s.Unlock()
	s.state = opening
	s.sendSyn()
	for s.state != open && s.failed == nil {
		s.changed.Wait()
	}
	return s, s.failed
}

// newNonce is docs/wire W10.
func newNonce() string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	nonce := make([]byte, 0, 30)
	var one [1]byte
	for len(nonce) < 30 {
		if _, err := rand.Read(one[:]); err != nil {
			panic(err)
		}
		if one[0] < 248 {
			nonce = append(nonce, letters[one[0]%62])
		}
	}
	return string(nonce)
}

// run does what is due.
func (s *session) run() {
	for range time.Tick(tick) {
		s.Lock()
		s.handleTime(time.Now())
		s.changed.Broadcast()
		s.Unlock()
	}
}

func (s *session) Send(content []byte) error {
	s.Lock()
	defer s.Unlock()
	for s.failed == nil && (s.next > s.edge || s.first < s.next && s.sentBytes+int64(len(content)) > s.edgeBytes) {
		s.changed.Wait()
	}
	if s.failed != nil {
		return s.failed
	}
	s.sentBytes += int64(len(content))
	t := &transmission{timeout: s.timeout(), packet: packet{
		event: eventData, seq: s.next, cumulative: s.sentBytes, data: content, checksum: checksum(content),
	}}
	s.next++
	s.waiting = append(s.waiting, t)
	s.transmit(t)
	return nil
}

func (s *session) Acked() error {
	s.Lock()
	defer s.Unlock()
	for s.first < s.next && s.failed == nil {
		s.changed.Wait()
	}
	if s.first < s.next {
		return s.failed
	}
	return nil
}

func (s *session) Recv() ([]byte, error) {
	s.Lock()
	defer s.Unlock()
	for len(s.ready) == 0 {
		if s.finReceived && len(s.held) == 0 {
			return nil, io.EOF
		}
		if s.failed != nil {
			return nil, s.failed
		}
		s.changed.Wait()
	}
	content := s.ready[0]
	s.ready = s.ready[1:]
	s.readySize -= int64(len(content))
	// docs/wire W36
	if free := s.consumed() + s.options.Window - 1 - s.toldEdge; free*4 >= s.options.Window || s.toldEdge < s.expected {
		s.say(packet{event: eventUpdate, seq: seqAnswer, retry: seqAnswer, ackSent: time.Now()})
	}
	return content, nil
}

func (s *session) Close() error {
	if err := s.Acked(); err != nil {
		return err
	}
	s.Lock()
	for !s.finAcked && !s.finReceived && s.finSent < finTimes && s.failed == nil {
		s.finNext = earlier(s.finNext, time.Now())
		s.changed.Wait()
	}
	// A FIN that nobody answers is normal (docs/wire W44).
	s.Unlock()
	time.Sleep(answersAfter)
	return s.nc.Flush()
}

func earlier(at, now time.Time) time.Time {
	if at.IsZero() {
		return now
	}
	return at
}

func (s *session) Closed() error {
	s.Lock()
	for !s.finReceived && s.failed == nil {
		s.changed.Wait()
	}
	err := s.failed
	s.Unlock()
	// FINs that come again are answered (docs/wire W45).
	time.Sleep(answersAfter)
	return errors.Join(err, s.nc.Flush())
}

func (s *session) fail(why string) {
	if s.failed == nil {
		s.failed = errors.New(why)
	}
}
