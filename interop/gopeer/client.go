package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// serials counts the messages of this process (M8).
var serials atomic.Int64

// conn sends and receives messages. Sends may come from several goroutines, receives from one.
type conn struct {
	net.Conn
	in   *bufio.Reader
	lock sync.Mutex // one writer, whole frames (F7)
}

func newConn(c net.Conn) *conn {
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 64<<10)}
}

func (c *conn) send(press byte, m *message) error {
	if m.HDR.NoSystemCompression {
		press = pressOff
	}
	bytes, err := frame(press, m.encode())
	if err != nil {
		return err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	_, err = c.Write(bytes)
	return err
}

func (c *conn) receive() (byte, *message, error) {
	press, body, err := readFrame(c.in)
	if err != nil {
		return 0, nil, err
	}
	m, err := decode(body)
	return press, m, err
}

// stamp sets what every message has that is not an answer (M4, M5).
func (c *conn) stamp(h *header) {
	h.Created = time.Now()
	h.From = "tcp://" + c.LocalAddr().String()
	h.To = "tcp://" + c.RemoteAddr().String()
	h.Serial = serials.Add(1)
}

// received is a message and the compression byte of its frame.
type received struct {
	*message
	press byte
}

// client does one thing after another over one connection.
type client struct {
	conn  *conn
	press byte
	limit time.Duration // for each message that is waited for
	seqno uint64
	in    chan received
	err   error // why in was closed
}

func newClient(c net.Conn, press byte, limit time.Duration) *client {
	// The first Seqno is 2 (M6).
	cl := &client{conn: newConn(c), press: press, limit: limit, seqno: 1, in: make(chan received, 16)}
	go func() {
		defer close(cl.in)
		for {
			press, m, err := cl.conn.receive()
			if err != nil {
				cl.err = err
				return
			}
			cl.in <- received{m, press}
		}
	}()
	return cl
}

// begin makes the first message of a call or stream.
func (cl *client) begin(typ int64, service string, args map[string]string, body []byte) *message {
	cl.seqno++
	id := make([]byte, 20)
	rand.Read(id)
	m := &message{
		HDR: header{
			Typ:         typ,
			Seqno:       cl.seqno,
			CallID:      base64.URLEncoding.EncodeToString(id),
			ServiceName: service,
			Args:        args,
		},
		JobSerz: body,
	}
	cl.conn.stamp(&m.HDR)
	return m
}

// part makes a later message of the stream that begin began (S1, S2).
func (cl *client) part(begin *message, typ, number int64, args map[string]string, body []byte) *message {
	m := &message{HDR: begin.HDR, JobSerz: body}
	m.HDR.Typ, m.HDR.StreamPart, m.HDR.Args = typ, number, args
	cl.conn.stamp(&m.HDR)
	return m
}

var errTimeout = errors.New("the server did not answer in time")

// next waits for a message that belongs to request; others are passed over. A refusal is an error.
func (cl *client) next(request *message) (received, error) {
	timer := time.NewTimer(cl.limit)
	defer timer.Stop()
	for {
		select {
		case m, open := <-cl.in:
			if !open {
				return m, cl.closed()
			}
			if belongs(m, request) {
				return m, refusal(m)
			}
		case <-timer.C:
			cl.cancel(request)
			return received{}, errTimeout
		}
	}
}

// early looks whether the server has ended the stream of request before its last part (S4).
func (cl *client) early(request *message) error {
	select {
	case m, open := <-cl.in:
		if !open {
			return cl.closed()
		}
		if !belongs(m, request) {
			return nil
		}
		if err := refusal(m); err != nil {
			return err
		}
		return errors.New("the server ended the stream before its last part")
	default:
		return nil
	}
}

func (cl *client) closed() error {
	if errors.Is(cl.err, io.EOF) {
		return errors.New("the server closed the connection")
	}
	return cl.err
}

// cancel sends the header of the request again, as C12 says.
func (cl *client) cancel(request *message) {
	m := &message{HDR: request.HDR}
	m.HDR.Typ = callCancel
	cl.conn.send(cl.press, m)
}

// belongs is C8: both numbers are the request's.
func belongs(m received, request *message) bool {
	return m.HDR.CallID == request.HDR.CallID && m.HDR.Seqno == request.HDR.Seqno
}

// refusal is the error of a message that reports one (E1, E2).
func refusal(m received) error {
	switch {
	case m.HDR.Typ == callError:
		return fmt.Errorf("refused: %s", m.HDR.Subject)
	case m.HDR.Typ == callReply && m.JobErrs != "":
		return fmt.Errorf("failed: %s", m.JobErrs)
	}
	return nil
}

// call makes a two-way call; plain sends this one message uncompressed, under byte 7.
func (cl *client) call(service string, body []byte, plain bool) (received, error) {
	request := cl.begin(callRPC, service, nil, body)
	request.HDR.NoSystemCompression = plain
	if err := cl.conn.send(cl.press, request); err != nil {
		return received{}, err
	}
	reply, err := cl.next(request)
	if err != nil {
		return reply, err
	}
	if reply.HDR.Typ != callReply || reply.HDR.ServiceName != service {
		return reply, fmt.Errorf("a reply of type %d from %q", reply.HDR.Typ, reply.HDR.ServiceName)
	}
	return reply, nil
}

// oneway sends a one-way message. With refused it waits for the refusal that an unknown name provokes (C15).
func (cl *client) oneway(service string, body []byte, refused bool) error {
	request := cl.begin(callOneWay, service, nil, body)
	if err := cl.conn.send(cl.press, request); err != nil || !refused {
		return err
	}
	_, err := cl.next(request)
	return err
}
