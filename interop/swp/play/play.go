// Package play is what every program of the sliding-window protocol does here, whichever implementation is below:
//
//	PROGRAM [-window N] [-bytes N] [-piece N] URL LOCAL REMOTE connect|accept TASK...
//
// The tasks run in their order. Whoever accepts begins with one that receives.
package play

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Options of a session.
type Options struct {
	URL, Local, Remote string
	// Connect opens; otherwise the session waits for its peer.
	Connect bool
	// Window in messages and in bytes.
	Window, Bytes int64
}

// Session is one end, of whatever implementation.
type Session interface {
	// Send sends one message; it waits for room.
	Send(data []byte) error
	// Acked waits until everything that was sent is acknowledged.
	Acked() error
	// Recv returns the next bytes, io.EOF at the end.
	Recv() ([]byte, error)
	SendFile(name string, data []byte) error
	// RecvFile receives a file; bare is the implementation's own call, without help.
	RecvFile(bare bool) (name string, data []byte, err error)
	// Close ends the session from here, Closed waits for the peer to do so.
	Close() error
	Closed() error
}

// Opener opens a session, or is ready for a peer when it returns.
type Opener func(Options) (Session, error)

const fileName = "a file"

// Main runs the program.
func Main(open Opener) {
	var options Options
	flag.Int64Var(&options.Window, "window", 64, "window in messages")
	flag.Int64Var(&options.Bytes, "bytes", 4<<20, "window in bytes")
	piece := flag.Int("piece", 16<<10, "bytes of a message")
	flag.Parse()
	if err := run(open, options, *piece, flag.Args()); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func run(open Opener, options Options, piece int, args []string) error {
	if len(args) < 4 {
		return errors.New("needs URL LOCAL REMOTE connect|accept TASK...")
	}
	options.URL, options.Local, options.Remote = args[0], args[1], args[2]
	options.Connect = args[3] == "connect"
	session, err := open(options)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	fmt.Println("ready")
	ends := &ends{session: session, piece: piece}
	for _, task := range args[4:] {
		if err := ends.play(task); err != nil {
			return fmt.Errorf("%s: %w", task, err)
		}
		fmt.Println("ok", task)
	}
	return nil
}

type ends struct {
	session        Session
	piece          int
	sent, received int
	rest           []byte
}

func (e *ends) play(task string) error {
	name, argument, _ := strings.Cut(task, ":")
	number := 0
	if argument != "" {
		var err error
		if number, err = strconv.Atoi(argument); err != nil {
			return err
		}
	}
	switch name {
	case "send":
		return e.send(number)
	case "recv":
		return e.receive(number, 0)
	case "slow":
		return e.receive(number, 50*time.Millisecond)
	case "both":
		sending := make(chan error, 1)
		go func() { sending <- e.send(number) }()
		return errors.Join(e.receive(number, 0), <-sending)
	case "sendfile":
		return e.session.SendFile(fileName, pattern(0, number))
	case "recvfile", "barefile":
		name, data, err := e.session.RecvFile(task[0] == 'b')
		if err != nil {
			return err
		}
		if name != fileName || !bytes.Equal(data, pattern(0, number)) {
			return fmt.Errorf("another file: %q, %d bytes", name, len(data))
		}
		return nil
	case "pause":
		time.Sleep(time.Duration(number) * time.Millisecond)
		return nil
	case "close":
		return e.session.Close()
	case "closed":
		return e.session.Closed()
	}
	return errors.New("no such task")
}

// pattern is the bytes of a stream from a position on.
func pattern(from, len int) []byte {
	data := make([]byte, len)
	for at := range data {
		position := from + at
		data[at] = byte(position ^ position>>9)
	}
	return data
}

func (e *ends) send(number int) error {
	for number > 0 {
		data := pattern(e.sent, min(number, e.piece))
		if err := e.session.Send(data); err != nil {
			return err
		}
		e.sent += len(data)
		number -= len(data)
	}
	return e.session.Acked()
}

// receive takes its time in front of the first messages, if it has a pause.
func (e *ends) receive(number int, pause time.Duration) error {
	for count := 0; number > 0; count++ {
		if pause > 0 && count < 20 {
			time.Sleep(pause)
		}
		if len(e.rest) == 0 {
			var err error
			if e.rest, err = e.session.Recv(); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
		data := e.rest[:min(number, len(e.rest))]
		e.rest = e.rest[len(data):]
		if !bytes.Equal(data, pattern(e.received, len(data))) {
			return fmt.Errorf("other bytes than were sent, after %d", e.received)
		}
		e.received += len(data)
		number -= len(data)
	}
	return nil
}
