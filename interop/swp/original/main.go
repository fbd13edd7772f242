// The original, go-sliding-window, with what every program here does.
package main

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	swp "github.com/glycerine/go-sliding-window"
	"github.com/tinylib/msgp/msgp"

	"towline.dev/interop/swp/play"
)

func main() { play.Main(open) }

// ackLimit is how long acknowledgements may take.
const ackLimit = 60 * time.Second

type session struct {
	*swp.Session
	client *swp.NatsClient
	ready  []*swp.Packet
	sent   int64
	acked  swp.ByteAccount
}

func open(options play.Options) (play.Session, error) {
	config := swp.NewNatsClientConfig("", 0, options.Local, options.Local, true, false, nil)
	config.ServerList = options.URL
	client := swp.NewNatsClient(config)
	if err := client.Start(); err != nil {
		return nil, err
	}
	one, err := swp.NewSession(swp.SessionConfig{
		Net:            swp.NewNatsNet(client),
		LocalInbox:     options.Local,
		DestInbox:      options.Remote,
		WindowMsgCount: options.Window,
		WindowByteSz:   options.Bytes,
		Timeout:        100 * time.Millisecond,
		Clk:            swp.RealClk,
	})
	if err != nil {
		return nil, err
	}
	// The original subscribes and does not wait for the broker.
	if err := client.Nc.Flush(); err != nil {
		return nil, err
	}
	s := &session{Session: one, client: client}
	if options.Connect {
		// By itself it sends its second SYN after a minute.
		one.ConnectTimeout, one.ConnectAttempts = time.Second, 20
		if err := one.ConnectIfNeeded(options.Remote, 0); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *session) Send(data []byte) error {
	s.Push(&swp.Packet{Dest: s.Destination, Data: data, TcpEvent: swp.EventData, Accounting: &s.acked})
	s.sent += int64(len(data))
	return nil
}

func (s *session) Acked() error {
	for start := time.Now(); atomic.LoadInt64(&s.acked.NumBytesAcked) < s.sent; {
		select {
		case <-s.Halt.Done.Chan:
			if atomic.LoadInt64(&s.acked.NumBytesAcked) == s.sent {
				return nil
			}
			return errors.New("the session ended before everything was acknowledged")
		case <-time.After(time.Millisecond):
		}
		if time.Since(start) > ackLimit {
			return fmt.Errorf("%d of %d bytes acknowledged", atomic.LoadInt64(&s.acked.NumBytesAcked), s.sent)
		}
	}
	return nil
}

func (s *session) Recv() ([]byte, error) {
	if len(s.ready) == 0 {
		select {
		case batch := <-s.ReadMessagesCh:
			s.ready = batch.Seq
		case <-s.Halt.Done.Chan:
			return nil, io.EOF
		}
	}
	data := s.ready[0].Data
	s.ready = s.ready[1:]
	return data, nil
}

func (s *session) SendFile(name string, data []byte) error {
	_, err := s.Session.SendFile(name, data, time.Now())
	return err
}

func (s *session) RecvFile(bare bool) (string, []byte, error) {
	if bare {
		file, err := s.Session.RecvFile()
		return file.Filepath, file.Data, err
	}
	var file swp.BigFile
	if err := msgp.Decode(patient{s.Session}, &file); err != nil {
		return "", nil, err
	}
	if sum := swp.Blake2bOfBytes(file.Data); string(sum) != string(file.Blake2b) {
		return "", nil, errors.New("the file's checksum differs")
	}
	return file.Filepath, file.Data, nil
}

// patient waits for data, which the original's Read does not (pitfall P102).
type patient struct{ session *swp.Session }

func (p patient) Read(into []byte) (int, error) {
	for {
		if n, err := p.session.Read(into); n > 0 || err != nil || len(into) == 0 {
			return n, err
		}
		time.Sleep(time.Millisecond)
	}
}

// Close sends the one FIN that the original sends, and leaves its peer time to take it. Acknowledgements are given time
// to leave before it (pitfall P103).
func (s *session) Close() error {
	time.Sleep(200 * time.Millisecond)
	if err := s.Session.Close(); err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	s.Stop()
	return s.client.Nc.Flush()
}

func (s *session) Closed() error {
	select {
	case <-s.Halt.Done.Chan:
		return s.client.Nc.Flush()
	case <-time.After(ackLimit):
		return errors.New("the peer did not close")
	}
}
