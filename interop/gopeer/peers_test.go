package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// connected is a client of a server that runs on this machine and serves dir.
func connected(t *testing.T, dir string, press byte) *client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s := &server{dir: dir, press: pressS2}
	go s.serve(listener, nil)
	c, err := dial(listener.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newClient(c, press, time.Minute)
}

func TestAClientAndAServerUnderstandEachOther(t *testing.T) {
	for _, press := range []byte{pressNone, pressS2} {
		cl := connected(t, t.TempDir(), press)
		reply, err := cl.call("customEcho", []byte("hello"), false)
		if err != nil || !strings.HasPrefix(string(reply.JobSerz), "hello\n with time customEcho sees this: '") {
			t.Errorf("%q, %v", reply.JobSerz, err)
		}
		if reply.press != press {
			t.Errorf("a reply under byte %d to a request under %d", reply.press, press)
		}
		if _, err := cl.call("alwaysFails", []byte("hello"), false); err == nil || err.Error() != "failed: alwaysFails was given 5 bytes" {
			t.Error(err)
		}
		if _, err := cl.call("nothing", nil, false); err == nil || !strings.HasPrefix(err.Error(), "refused: error! CallRPC begin received") {
			t.Error(err)
		}
		if err := cl.oneway("log", []byte("a line"), false); err != nil {
			t.Error(err)
		}
		if err := cl.oneway("nothing", nil, true); err == nil || !strings.HasPrefix(err.Error(), "refused: error! CallOneWay received") {
			t.Error(err)
		}
	}
}

func TestFilesGoThereAndBack(t *testing.T) {
	here, there, back := t.TempDir(), t.TempDir(), t.TempDir()
	cl := connected(t, there, pressS2)
	for _, size := range []int{0, 1, partSize, partSize + 1} {
		content := bytes.Repeat([]byte{0x5a}, size)
		path := filepath.Join(here, "file")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := cl.push(path); err != nil || n != int64(size) {
			t.Fatal(size, n, err)
		}
		if n, err := cl.pull("file", back); err != nil || n != int64(size) {
			t.Fatal(size, n, err)
		}
		got, err := os.ReadFile(filepath.Join(back, "file"))
		if err != nil || !bytes.Equal(got, content) {
			t.Fatal(size, len(got), err)
		}
	}
	if _, err := cl.pull("nothing", back); err == nil || err.Error() != "failed: download error: no such path 'nothing'" {
		t.Error(err)
	}
	if _, err := cl.pull("../file", back); err == nil {
		t.Error("a path that leaves the directory was served")
	}
	for _, dir := range []string{there, back} {
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Error(left, err)
		}
	}
}
