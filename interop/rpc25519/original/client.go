package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/glycerine/rpc25519"
)

// Longer than anything here takes.
const patience = 60 * time.Second

func client(cfg *rpc25519.Config, part string) error {
	client, err := rpc25519.NewClient("client", cfg)
	if err != nil {
		return err
	}
	if err := client.Start(); err != nil {
		return err
	}
	defer client.Close()
	peer := &peer{client}
	if idle, is := strings.CutPrefix(part, "idle="); is {
		return peer.idle(idle)
	}
	steps := []step{
		{"calls", peer.calls},
		{"net/rpc", peer.netRPC},
		{"push", peer.push},
		{"cancel", peer.cancel},
		{"deadline", peer.deadline},
		{"upload", peer.upload},
		{"download", peer.download},
		{"bistream", peer.bistream},
	}
	if part == "large" {
		steps = []step{{"large", func() error { return peer.large(cfg.CompressionOff) }}}
	}
	for _, step := range steps {
		if err := step.play(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

type step struct {
	name string
	play func() error
}

type peer struct{ *rpc25519.Client }

func request(service string, body []byte) *rpc25519.Message {
	message := rpc25519.NewMessage()
	message.HDR.ServiceName = service
	message.HDR.Subject = service
	message.JobSerz = body
	return message
}

func (p *peer) call(service string, body []byte) (*rpc25519.Message, error) {
	return p.SendAndGetReplyWithTimeout(patience, request(service, body))
}

func expect(what string, got, expected string) error {
	if got != expected {
		return fmt.Errorf("%s is %.80q, not %.80q", what, got, expected)
	}
	return nil
}

func (p *peer) calls() error {
	for _, size := range []int{0, 1, 1000, 300_000} {
		for _, body := range [][]byte{text(size), noise(size)} {
			reply, err := p.call("echo", body)
			if err != nil {
				return err
			}
			if !bytes.Equal(reply.JobSerz, body) {
				return fmt.Errorf("%d bytes came back as %d others", size, len(reply.JobSerz))
			}
		}
	}
	reply, err := p.call("fail", []byte("with a body"))
	if err != nil {
		return err
	}
	if err := expect("the error", reply.JobErrs, "this is what it says"); err != nil {
		return err
	}
	return expect("its body", string(reply.JobSerz), "with a body")
}

func (p *peer) netRPC() error {
	args, reply := &rpc25519.Args{A: 7, B: 8}, new(rpc25519.Reply)
	if err := p.Call("Arith.Mul", args, reply, nil); err != nil {
		return err
	}
	if reply.C != 56 {
		return fmt.Errorf("7 times 8 is %d", reply.C)
	}
	args.B = 0
	err := p.Call("Arith.Div", args, reply, nil)
	if err == nil {
		return errors.New("divided by zero")
	}
	if err := expect("the error", err.Error(), "divide by zero"); err != nil {
		return err
	}
	err = p.Call("Arith.Nothing", args, reply, nil)
	if err == nil {
		return errors.New("called what is not there")
	}
	return expect("the error", err.Error(), "rpc: can't find method Arith.Nothing")
}

func (p *peer) push() error {
	callID := rpc25519.NewCallID()
	heard := p.GetReadIncomingChForCallID(callID)
	message := request("push", nil)
	message.HDR.CallID = callID
	if err := p.OneWaySend(message, nil); err != nil {
		return err
	}
	for number := range 3 {
		select {
		case pushed := <-heard:
			body := fmt.Sprintf("push %d", number)
			if err := expect("what was pushed", string(pushed.JobSerz), body); err != nil {
				return err
			}
		case <-time.After(patience):
			return errors.New("nothing was pushed")
		}
	}
	return nil
}

// ended asks how many calls have ended by their contexts, until there is one more than there were.
func (p *peer) ended() (string, error) {
	reply, err := p.call("ended", nil)
	if err != nil {
		return "", err
	}
	return string(reply.JobSerz), nil
}

func (p *peer) endsOneMore(leave func() error) error {
	before, err := p.ended()
	if err != nil {
		return err
	}
	if err := leave(); err != nil {
		return err
	}
	until := time.Now().Add(patience)
	for time.Now().Before(until) {
		now, err := p.ended()
		if err != nil || now != before {
			return err
		}
	}
	return errors.New("the other end goes on with what was left")
}

func (p *peer) cancel() error {
	return p.endsOneMore(func() error {
		leave := make(chan struct{})
		time.AfterFunc(keepAlive/2, func() { close(leave) })
		_, err := p.SendAndGetReply(request("wait", nil), leave)
		if err == nil {
			return errors.New("a call that was cancelled was answered")
		}
		return nil
	})
}

func (p *peer) deadline() error {
	return p.endsOneMore(func() error {
		message := request("wait", nil)
		message.HDR.Deadline = time.Now().Add(keepAlive)
		reply, err := p.SendAndGetReply(message, make(chan struct{}))
		if err != nil {
			return err
		}
		return expect("the error", reply.JobErrs, "context deadline exceeded")
	})
}

func (p *peer) upload() error {
	ctx := context.Background()
	for _, fails := range []bool{false, true} {
		all := text(partSize)
		uploader, err := p.UploadBegin(ctx, "upload", request("upload", all))
		if err != nil {
			return err
		}
		for number := 1; number < parts; number++ {
			body := noise(partSize + number)
			all = append(all, body...)
			if err := uploader.UploadMore(ctx, request("upload", body), number == parts-1 && !fails); err != nil {
				return err
			}
		}
		if fails {
			if err := uploader.UploadMore(ctx, request("upload", []byte("fail")), false); err != nil {
				return err
			}
		}
		select {
		case reply := <-uploader.ReadCh:
			if fails {
				err = expect("the error", reply.JobErrs, "this upload fails")
			} else {
				err = expect("the sum", string(reply.JobSerz), sum(all))
			}
			if err != nil {
				return err
			}
		case refused := <-uploader.ErrorCh:
			return errors.New(refused.HDR.Subject)
		case <-time.After(patience):
			return errors.New("no answer")
		}
	}
	return nil
}

func (p *peer) download() error {
	downloader, err := p.RequestDownload(context.Background(), "download", "-")
	if err != nil {
		return err
	}
	for number := 0; ; {
		select {
		case part := <-downloader.ReadDownloadsCh:
			if part.HDR.Typ == rpc25519.CallRPCReply {
				if number != parts {
					return fmt.Errorf("ended after %d parts", number)
				}
				return expect("the reply", string(part.JobSerz), "done")
			}
			if !bytes.Equal(part.JobSerz, text(partSize+number)) {
				return fmt.Errorf("part %d is another", number)
			}
			number++
		case refused := <-downloader.ErrorCh:
			return errors.New(refused.HDR.Subject)
		case <-time.After(patience):
			return fmt.Errorf("nothing after %d parts", number)
		}
	}
}

func (p *peer) bistream() error {
	ctx := context.Background()
	stream, err := p.RequestBistreaming(ctx, "bistream", request("bistream", noise(1)))
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		for number := 1; number < parts; number++ {
			body := request("bistream", noise(partSize+number))
			if err := stream.UploadMore(ctx, body, number == parts-1); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for number := 0; ; {
		select {
		case part := <-stream.ReadDownloadsCh:
			if part.HDR.Typ == rpc25519.CallRPCReply {
				if number != parts {
					return fmt.Errorf("ended after %d parts", number)
				}
				if err := expect("the reply", string(part.JobSerz), "done"); err != nil {
					return err
				}
				return <-sent
			}
			size := partSize + number
			if number == 0 {
				size = 1
			}
			if !bytes.Equal(part.JobSerz, noise(size)) {
				return fmt.Errorf("part %d is another", number)
			}
			number++
		case refused := <-stream.ErrorCh:
			return errors.New(refused.HDR.Subject)
		case <-time.After(patience):
			return fmt.Errorf("nothing after %d parts", number)
		}
	}
}

// large sends and fetches the largest bodies; one byte more is an error of that call alone.
func (p *peer) large(noisy bool) error {
	for _, size := range []int{67_106_000, 67_107_760} {
		kind, body := "text", text(size)
		if noisy {
			kind, body = "noise", noise(size)
		}
		expected := sum(body)
		reply, err := p.call("sum", body)
		if err != nil {
			return err
		}
		if err := expect("the sum", string(reply.JobSerz), expected); err != nil {
			return err
		}
		reply, err = p.call("make", []byte(fmt.Sprintf("%s %d", kind, size)))
		if err != nil {
			return err
		}
		if err := expect("the sum of what came", sum(reply.JobSerz), expected); err != nil {
			return err
		}
	}
	if _, err := p.call("sum", make([]byte, 67_107_761)); !errors.Is(err, rpc25519.ErrTooLarge) {
		return fmt.Errorf("one byte more: %v", err)
	}
	reply, err := p.call("echo", []byte("still here"))
	if err != nil {
		return err
	}
	return expect("the call behind it", string(reply.JobSerz), "still here")
}

// idle says nothing for a while, and is still connected.
func (p *peer) idle(duration string) error {
	pause, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	for range 2 {
		reply, err := p.call("echo", []byte("here"))
		if err != nil {
			return err
		}
		if err := expect("the echo", string(reply.JobSerz), "here"); err != nil {
			return err
		}
		time.Sleep(pause)
		pause = 0
	}
	return nil
}
