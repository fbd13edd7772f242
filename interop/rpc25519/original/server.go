package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/glycerine/rpc25519"
)

// ended counts the calls to "wait" whose context has ended.
var ended atomic.Int64

func register(server *rpc25519.Server) {
	server.Register2Func("echo", func(req, reply *rpc25519.Message) error {
		reply.JobSerz = req.JobSerz
		return nil
	})
	server.Register2Func("fail", func(req, reply *rpc25519.Message) error {
		reply.JobSerz = req.JobSerz
		return errors.New("this is what it says")
	})
	server.Register2Func("sum", func(req, reply *rpc25519.Message) error {
		reply.JobSerz = []byte(sum(req.JobSerz))
		return nil
	})
	// "text 1000" or "noise 1000"
	server.Register2Func("make", func(req, reply *rpc25519.Message) error {
		kind, digits, _ := strings.Cut(string(req.JobSerz), " ")
		size, err := strconv.Atoi(digits)
		if err != nil {
			return err
		}
		if kind == "noise" {
			reply.JobSerz = noise(size)
		} else {
			reply.JobSerz = text(size)
		}
		return nil
	})
	server.Register2Func("wait", func(req, reply *rpc25519.Message) error {
		<-req.HDR.Ctx.Done()
		ended.Add(1)
		return req.HDR.Ctx.Err()
	})
	server.Register2Func("ended", func(req, reply *rpc25519.Message) error {
		reply.JobSerz = []byte(strconv.FormatInt(ended.Load(), 10))
		return nil
	})
	// Says three things to whoever has sent it, later, while no call is open.
	server.Register1Func("push", func(req *rpc25519.Message) {
		from, callID := req.HDR.From, req.HDR.CallID
		time.Sleep(2 * keepAlive)
		for number := range 3 {
			body := []byte(fmt.Sprintf("push %d", number))
			if err := server.SendMessage(callID, "pushed", from, body, uint64(number), nil); err != nil {
				fmt.Println("error: push:", err)
			}
		}
	})
	server.RegisterUploadReaderFunc("upload", upload)
	server.RegisterServerSendsDownloadFunc("download", download)
	server.RegisterBistreamFunc("bistream", bistream)
	arith := new(rpc25519.Arith)
	server.Register(arith)
}

// What has come of each upload: the original calls one function with all of them.
var uploads = make(chan map[string][]byte, 1)

func init() { uploads <- map[string][]byte{} }

func upload(ctx context.Context, req, last *rpc25519.Message, deadCallID string) error {
	all := <-uploads
	defer func() { uploads <- all }()
	if deadCallID != "" {
		delete(all, deadCallID)
		return nil
	}
	if string(req.JobSerz) == "fail" {
		return errors.New("this upload fails")
	}
	id := req.HDR.CallID
	all[id] = append(all[id], req.JobSerz...)
	if last != nil {
		last.JobSerz = []byte(sum(all[id]))
	}
	return nil
}

const (
	parts    = 20
	partSize = 100_000
)

// download sends parts of text, each a little longer than the last.
func download(
	_ *rpc25519.Server,
	ctx context.Context,
	req *rpc25519.Message,
	send func(ctx context.Context, msg *rpc25519.Message, last bool) error,
	reply *rpc25519.Message,
) error {
	for number := range parts {
		part := rpc25519.NewMessage()
		part.JobSerz = text(partSize + number)
		if err := send(ctx, part, number == parts-1); err != nil {
			return err
		}
	}
	reply.JobSerz = []byte("done")
	return nil
}

// bistream sends each part back as it comes.
func bistream(
	_ *rpc25519.Server,
	ctx context.Context,
	req *rpc25519.Message,
	come <-chan *rpc25519.Message,
	send func(ctx context.Context, msg *rpc25519.Message, last bool) error,
	reply *rpc25519.Message,
) error {
	for {
		select {
		case part := <-come:
			last := part.HDR.Typ == rpc25519.CallUploadEnd
			back := rpc25519.NewMessage()
			back.JobSerz = part.JobSerz
			if err := send(ctx, back, last); err != nil {
				return err
			}
			if last {
				reply.JobSerz = []byte("done")
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
