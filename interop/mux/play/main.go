package play

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// limit is the time in which a program must have come to its end.
const limit = 30 * time.Second

// Main is the whole program around some multiplexers: it listens for one connection and answers what is
// asked there, or it connects and plays a case. Its first line when listening is `listening HOST:PORT`, its
// last one `ok …` or `ended …`; a failure is told as `FAIL …` with exit status 1.
func Main(muxes ...Mux) {
	names := make([]string, len(muxes))
	for i, mux := range muxes {
		names[i] = mux.Name
	}
	name := flag.String("mux", names[0], "which multiplexer: "+strings.Join(names, ", "))
	listen := flag.String("listen", "", "listen here for one connection, as the server")
	connect := flag.String("connect", "", "connect there, as the client, and play -case")
	played := flag.String("case", "echo", "what to play: "+strings.Join(caseNames(), ", "))
	streams := flag.Int("streams", 20, "how many streams the case echo opens")
	size := flag.Int("size", 1<<20, "how many bytes each of them carries")
	backlog := flag.Int("backlog", 0, "how many streams may wait to be accepted (0: the default)")
	closeLate := flag.Bool("close-late", false, "end a stream only when all of its echo is there")
	heartbeat := flag.Bool("heartbeat", false, "typed streams and heartbeats; muxado only")
	flag.Parse()

	time.AfterFunc(limit, func() { fail(fmt.Errorf("not done after %v", limit)) })
	var mux *Mux
	for i := range muxes {
		if muxes[i].Name == *name {
			mux = &muxes[i]
		}
	}
	options := Options{Backlog: *backlog, CloseLate: *closeLate, Heartbeat: *heartbeat}
	switch {
	case mux == nil:
		fail(fmt.Errorf("no multiplexer %q; there are %s", *name, strings.Join(names, ", ")))
	case *listen != "":
		if err := serve(mux, *listen, options); err != nil {
			fail(err)
		}
	case *connect != "":
		said, err := playCase(mux, *connect, options, *played, *streams, *size)
		if err != nil {
			fail(fmt.Errorf("%s: %w", *played, err))
		}
		fmt.Println("ok", *played, said)
	default:
		fail(fmt.Errorf("-listen or -connect is missing"))
	}
}

func serve(mux *Mux, address string, options Options) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening", listener.Addr())
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	session, err := mux.Server(conn, options)
	if err != nil {
		return err
	}
	end := newSide(options, session).acceptAll()
	fmt.Println("ended", end)
	return nil
}

func playCase(mux *Mux, address string, options Options, name string, streams, size int) (string, error) {
	play, ok := cases[name]
	if !ok {
		return "", fmt.Errorf("no such case; there are %s", strings.Join(caseNames(), ", "))
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	session, err := mux.Client(conn, options)
	if err != nil {
		return "", err
	}
	side := newSide(options, session)
	go side.acceptAll()
	said, err := play(side, streams, size)
	if err != nil {
		return "", err
	}
	return said, session.Close()
}

func fail(err error) {
	fmt.Println("FAIL", err)
	os.Exit(1)
}
