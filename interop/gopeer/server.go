package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// server answers calls and moves the files of one directory.
type server struct {
	dir   string
	press byte
	// loneEmpty sends an empty file as the original does: one part that is not marked as the last (T18).
	loneEmpty bool
}

// serve accepts connections until the listener is closed.
func (s *server) serve(listener net.Listener, config *tls.Config) error {
	for {
		c, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if err := s.connection(c, config); err != nil && !errors.Is(err, io.EOF) {
				log.Printf("%s: %v", c.RemoteAddr(), err)
			}
		}()
	}
}

// stream is an upload that is under way.
type stream struct {
	parts chan *message
	done  <-chan struct{}
}

// session is one connection of a client.
type session struct {
	*server
	*conn
	lock    sync.Mutex
	press   byte // of the last frame that was not under byte 7 (F11)
	uploads map[string]stream
	cancels map[string]context.CancelFunc
}

func (s *server) connection(c net.Conn, config *tls.Config) error {
	if config != nil {
		secure := tls.Server(c, config)
		c.SetDeadline(time.Now().Add(handshakeLimit))
		if err := secure.Handshake(); err != nil {
			return err
		}
		c.SetDeadline(time.Time{})
		c = secure
	}
	ss := &session{
		server:  s,
		conn:    newConn(c),
		press:   s.press,
		uploads: map[string]stream{},
		cancels: map[string]context.CancelFunc{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		press, m, err := ss.receive()
		if err != nil {
			return err
		}
		// A server without compression mirrors nothing (F13).
		if press != pressOff && s.press != pressNone {
			ss.lock.Lock()
			ss.press = press
			ss.lock.Unlock()
		}
		ss.dispatch(ctx, m)
	}
}

// dispatch starts what a message asks for (C3); what it does not know it ignores (C2).
func (ss *session) dispatch(ctx context.Context, m *message) {
	h := &m.HDR
	switch h.Typ {
	case callRPC:
		switch h.ServiceName {
		case "customEcho":
			ss.start(ctx, m, nil, func(context.Context) (*message, error) { return echo(m), nil })
		case "alwaysFails":
			ss.start(ctx, m, nil, func(context.Context) (*message, error) {
				return nil, fmt.Errorf("alwaysFails was given %d bytes", len(m.JobSerz))
			})
		default:
			ss.refuse(m, "CallRPC begin received but no server side upcall registered for")
		}
	case callOneWay:
		if h.ServiceName != "log" {
			ss.refuse(m, "CallOneWay received but no server side upcall registered for")
			return
		}
		log.Printf("one-way: %s", m.JobSerz)
	case callUploadBegin:
		if h.ServiceName != uploader {
			ss.refuse(m, "CallUploadBegin stream begin received but no registered stream upload reader available on the server.")
			return
		}
		parts := make(chan *message, 16)
		ss.start(ctx, m, parts, func(ctx context.Context) (*message, error) { return ss.store(ctx, m, parts) })
	case callUploadMore, callUploadEnd:
		ss.lock.Lock()
		up, there := ss.uploads[h.CallID]
		if h.Typ == callUploadEnd {
			delete(ss.uploads, h.CallID)
		}
		ss.lock.Unlock()
		if there {
			// Waiting here stops the reader, and TCP holds the sender (S14).
			select {
			case up.parts <- m:
			case <-up.done:
			}
		}
	case callDownload:
		if h.ServiceName != downloader {
			ss.refuse(m, "CallRequestDownload received but no server side upcall registered for")
			return
		}
		ss.start(ctx, m, nil, func(ctx context.Context) (*message, error) { return ss.deliver(ctx, m) })
	case callCancel:
		ss.lock.Lock()
		cancel := ss.cancels[h.CallID]
		ss.lock.Unlock()
		if cancel != nil {
			cancel() // C13
		}
	}
}

// start runs a function beside the reader (C4) and sends its reply. An upload's further parts go to parts.
func (ss *session) start(
	ctx context.Context, m *message, parts chan *message, run func(context.Context) (*message, error),
) {
	var cancel context.CancelFunc
	if m.HDR.Deadline.IsZero() {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithDeadline(ctx, m.HDR.Deadline) // C10
	}
	ss.lock.Lock()
	ss.cancels[m.HDR.CallID] = cancel
	if parts != nil {
		ss.uploads[m.HDR.CallID] = stream{parts, ctx.Done()}
	}
	ss.lock.Unlock()
	go func() {
		reply, err := run(ctx)
		if err != nil {
			reply = &message{JobErrs: err.Error()}
		}
		// A stream that has ended keeps no state (S12).
		ss.lock.Lock()
		delete(ss.cancels, m.HDR.CallID)
		delete(ss.uploads, m.HDR.CallID)
		ss.lock.Unlock()
		cancel()
		ss.answer(m, callReply, reply)
	}()
}

// answer sends what a function made under the numbers of its request (C7).
func (ss *session) answer(request *message, typ int64, m *message) error {
	h := &m.HDR
	ss.stamp(h)
	h.Typ = typ
	h.Subject = request.HDR.Subject
	h.Seqno, h.CallID, h.ServiceName = request.HDR.Seqno, request.HDR.CallID, request.HDR.ServiceName
	h.Deadline = request.HDR.Deadline
	return ss.mirror(m)
}

// mirror sends with the compression that the client uses (F11).
func (ss *session) mirror(m *message) error {
	ss.lock.Lock()
	press := ss.press
	ss.lock.Unlock()
	return ss.send(press, m)
}

// refuse sends the request's header back as a CallError (E2, E3).
func (ss *session) refuse(m *message, why string) {
	h := m.HDR
	h.From, h.To = h.To, h.From
	h.Typ = callError
	h.Subject = fmt.Sprintf("error! %s req.HDR.ServiceName='%s'; req.HDR.CallID='%s'", why, h.ServiceName, h.CallID)
	ss.mirror(&message{HDR: h})
}

// echo is T28.
func echo(m *message) *message {
	return &message{JobSerz: fmt.Appendf(nil, "%s\n with time customEcho sees this: '%v'", m.JobSerz, time.Now())}
}

// store receives one upload (S3, T5).
func (ss *session) store(ctx context.Context, begin *message, parts <-chan *message) (*message, error) {
	name := begin.HDR.Args["readFile"]
	file, err := arrive(ss.dir, name)
	if err != nil {
		return nil, err
	}
	defer file.drop()
	for m := begin; ; {
		if err := file.part(m); err != nil {
			return nil, err
		}
		if m.HDR.Typ == callUploadEnd {
			break
		}
		select {
		case m = <-parts:
		case <-ctx.Done():
			return nil, errors.New("context cancelled") // S5
		}
	}
	if err := file.finish(begin.HDR.Args["pathsize"], ""); err != nil {
		return nil, err
	}
	reply := &message{JobSerz: fmt.Appendf(nil, "got upcall at '%v'; bytesWrit=%d; stored as %s", time.Now(), file.size, name)}
	reply.HDR.Args = map[string]string{"serverTotalBlake3sum": file.total()}
	return reply, nil
}

// deliver sends one file (S6, T7, T8).
func (ss *session) deliver(ctx context.Context, request *message) (*message, error) {
	path := request.HDR.Args["downloadRequestedPath"]
	if !filepath.IsLocal(path) {
		return nil, fmt.Errorf("download error: path refused '%s'", path)
	}
	file, err := os.Open(filepath.Join(ss.dir, path))
	if err != nil {
		return nil, fmt.Errorf("download error: no such path '%s'", path)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("download error: not a file '%s'", path)
	}
	_, _, err = parts(file, func(number int64, last bool, body []byte) error {
		if ctx.Err() != nil {
			return errors.New("context cancelled")
		}
		typ := int64(callDownloadMore)
		switch {
		case number == 0:
			typ = callDownloadBegin
		case last && info.Size() == 0 && ss.loneEmpty:
			return nil
		case last:
			typ = callDownloadEnd
		}
		part := &message{JobSerz: body}
		part.HDR.StreamPart = number
		part.HDR.Args = map[string]string{
			"pathsize": strconv.FormatInt(info.Size(), 10),
			"path":     path,
			"filename": filepath.Base(path),
			"blake3":   hashText(body),
		}
		return ss.answer(request, typ, part)
	})
	if err != nil {
		return nil, err
	}
	return &message{}, nil
}
