// Gopeer is a peer that speaks rpc25519's wire format, written from the rules in docs/wire and nothing
// else, so that towline meets another implementation of them, in another language, wherever Go is.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = `usage:
  gopeer serve  -listen HOST:PORT -dir DIR     answer calls, store and send files of DIR
  gopeer call   -s HOST:PORT NAME [BODY]       make a call and print its reply
  gopeer oneway -s HOST:PORT NAME [BODY]       send a one-way message
  gopeer netrpc -s HOST:PORT examples          call the services of towline's example net_rpc
  gopeer push   -s HOST:PORT FILE...           send files
  gopeer pull   -s HOST:PORT [-dir DIR] PATH...  fetch files into DIR
flags of all: -tcp, -certs DIR, -key NAME, -press s2|none
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// options are the flags; each subcommand reads those that concern it.
type options struct {
	listen, server, dir string
	tcp                 bool
	certs, key, press   string
	timeout             time.Duration
	plain, refused      bool
	loneEmpty           bool
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	var o options
	name := "client"
	if args[0] == "serve" {
		name = "node"
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "serve: where to listen")
	flags.StringVar(&o.server, "s", "", "the server's address")
	flags.StringVar(&o.dir, "dir", ".", "the directory of the files")
	flags.BoolVar(&o.tcp, "tcp", false, "plain TCP, without TLS")
	flags.StringVar(&o.certs, "certs", "certs", "the directory of keys and certificates")
	flags.StringVar(&o.key, "key", name, "the name of our own key")
	flags.StringVar(&o.press, "press", "s2", "compression: s2 or none")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to wait for each message of the server")
	flags.BoolVar(&o.plain, "plain", false, "call: send the request under byte 7, uncompressed")
	flags.BoolVar(&o.refused, "refused", false, "oneway: wait for the refusal of an unknown name")
	flags.BoolVar(&o.loneEmpty, "lone-empty", false, "serve: send an empty file as the original does, without a last part")
	flags.Parse(args[1:])

	press, err := pressByte(o.press)
	if err != nil {
		return err
	}
	var config *tls.Config
	if !o.tcp {
		if config, err = credentials(o.certs, o.key); err != nil {
			return err
		}
	}
	if args[0] == "serve" {
		return serve(&o, press, config)
	}
	c, err := dial(o.server, config)
	if err != nil {
		return err
	}
	defer c.Close()
	return use(newClient(c, press, o.timeout), args[0], &o, flags.Args())
}

// serve runs the server until a signal asks it to stop.
func serve(o *options, press byte, config *tls.Config) error {
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan error, 1)
	s := &server{dir: o.dir, press: press, loneEmpty: o.loneEmpty}
	go func() { ended <- s.serve(listener, config) }()
	fmt.Println("listening", listener.Addr())
	select {
	case <-signals:
		return listener.Close()
	case err := <-ended:
		return err
	}
}

// use does what one client's subcommand says.
func use(cl *client, task string, o *options, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	var body []byte
	if len(args) > 1 {
		body = []byte(args[1])
	}
	switch task {
	case "netrpc":
		return cl.netRPCExamples()
	case "call":
		reply, err := cl.call(args[0], body, o.plain)
		if err != nil {
			return err
		}
		fmt.Printf("%s\nreply under byte %d\n", reply.JobSerz, reply.press)
	case "oneway":
		return cl.oneway(args[0], body, o.refused)
	case "push":
		for _, path := range args {
			size, err := cl.push(path)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			fmt.Printf("sent %s, %d bytes\n", path, size)
		}
	case "pull":
		for _, path := range args {
			size, err := cl.pull(path, o.dir)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			fmt.Printf("fetched %s, %d bytes\n", path, size)
		}
	default:
		return errors.New(usage)
	}
	return nil
}
