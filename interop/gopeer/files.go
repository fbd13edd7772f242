package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"lukechampine.com/blake3"
)

const (
	uploader   = "__fileUploader"   // T1
	downloader = "__downloaderName" // T1
	partSize   = 1 << 20            // T2
)

// hashText is T9 for the bytes of one part.
func hashText(b []byte) string {
	sum := blake3.Sum256(b)
	return sumText(sum[:])
}

func sumText(sum []byte) string {
	return "blake3.32B-" + base64.URLEncoding.EncodeToString(sum)
}

// parts reads a file part by part and gives each to send. The last is empty (T3), and an empty file
// is an empty first part and an empty last one (T17). It returns the size and the hash of the whole.
func parts(file io.Reader, send func(number int64, last bool, body []byte) error) (int64, string, error) {
	total := blake3.New(32, nil)
	buffer := make([]byte, partSize)
	var size int64
	for number := int64(0); ; number++ {
		n, err := io.ReadFull(file, buffer)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return size, "", err
		}
		size += int64(n)
		total.Write(buffer[:n])
		last := n == 0 && number > 0
		if err := send(number, last, buffer[:n]); err != nil {
			return size, "", err
		}
		if last {
			return size, sumText(total.Sum(nil)), nil
		}
	}
}

// arriving is a file that is being received: under another name until it is whole (T14).
type arriving struct {
	file   *os.File
	target string
	hash   *blake3.Hasher
	size   int64
	next   int64 // the StreamPart that must come next
}

// arrive begins to receive the file name in the directory dir.
func arrive(dir, name string) (*arriving, error) {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("%q is not the name of a file", name) // T12
	}
	file, err := os.CreateTemp(dir, ".arriving-*")
	if err != nil {
		return nil, err
	}
	return &arriving{
		file:   file,
		target: filepath.Join(dir, name),
		hash:   blake3.New(32, nil),
	}, nil
}

// part checks and writes one part (T15, T16).
func (a *arriving) part(m *message) error {
	if m.HDR.StreamPart != a.next {
		return fmt.Errorf("stream out of sync, expected next StreamPart to be %d; but we see %d",
			a.next, m.HDR.StreamPart) // E10
	}
	sent, there := m.HDR.Args["blake3"]
	if sent != hashText(m.JobSerz) && (there || a.next > 0) {
		return fmt.Errorf("part %d does not have the hash that was sent with it", a.next)
	}
	a.next++
	a.size += int64(len(m.JobSerz))
	a.hash.Write(m.JobSerz)
	_, err := a.file.Write(m.JobSerz)
	return err
}

// finish puts the file in its place; size and total are what the sender says, if it says it (T19).
func (a *arriving) finish(size, total string) error {
	if size != "" && size != strconv.FormatInt(a.size, 10) {
		return fmt.Errorf("%d bytes arrived, not %s", a.size, size)
	}
	if total != "" && total != a.total() {
		return errors.New("the bytes that arrived do not have the hash of the file")
	}
	if err := a.file.Close(); err != nil {
		return err
	}
	return os.Rename(a.file.Name(), a.target)
}

func (a *arriving) total() string { return sumText(a.hash.Sum(nil)) }

// drop removes what arrived, unless finish has put it in its place (T22).
func (a *arriving) drop() {
	a.file.Close()
	os.Remove(a.file.Name())
}

// push sends one file (S3, T4) and compares the server's hash of it with ours (T5).
func (cl *client) push(path string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var begin *message
	size, total, err := parts(file, func(number int64, last bool, body []byte) error {
		hash := hashText(body)
		if number == 0 {
			begin = cl.begin(callUploadBegin, uploader, map[string]string{
				"readFile": filepath.Base(path),
				"blake3":   hash,
			}, body)
			return cl.conn.send(cl.press, begin)
		}
		if err := cl.early(begin); err != nil {
			return err
		}
		typ := int64(callUploadMore)
		if last {
			typ = callUploadEnd
		}
		args := map[string]string{"blake3": hash}
		return cl.conn.send(cl.press, cl.part(begin, typ, number, args, body))
	})
	if err != nil {
		return size, err
	}
	reply, err := cl.next(begin)
	if err != nil {
		return size, err
	}
	body := string(reply.JobSerz)
	switch {
	case reply.HDR.Typ != callReply:
		return size, fmt.Errorf("an upload was answered with type %d", reply.HDR.Typ)
	case reply.HDR.Args["serverTotalBlake3sum"] != total:
		return size, fmt.Errorf("the server stored bytes with the hash %q, not %s",
			reply.HDR.Args["serverTotalBlake3sum"], total)
	case !strings.HasPrefix(body, "got upcall at '"), !strings.Contains(body, fmt.Sprintf("bytesWrit=%d;", size)):
		return size, fmt.Errorf("the final reply is no report of an upload: %q", body)
	}
	return size, nil
}

// pull fetches one file into the directory dir (S6, T6 to T8).
func (cl *client) pull(path, dir string) (int64, error) {
	name := path[strings.LastIndexByte(path, '/')+1:]
	file, err := arrive(dir, name)
	if err != nil {
		return 0, err
	}
	defer file.drop()
	request := cl.begin(callDownload, downloader, map[string]string{"downloadRequestedPath": path}, nil)
	if err := cl.conn.send(cl.press, request); err != nil {
		return 0, err
	}
	size, ended := "", false
	for {
		m, err := cl.next(request)
		if err != nil {
			return file.size, err
		}
		if m.HDR.Typ == callReply {
			if !ended && size != "0" { // T18
				return file.size, errors.New("the final reply came before the last part")
			}
			err := file.finish(size, m.HDR.Args["serverTotalBlake3sum"])
			return file.size, err
		}
		if err := downloadPart(m, ended, path, name); err != nil {
			cl.cancel(request)
			return file.size, err
		}
		if err := file.part(m.message); err != nil {
			cl.cancel(request)
			return file.size, err
		}
		size = m.HDR.Args["pathsize"]
		ended = m.HDR.Typ == callDownloadEnd
	}
}

// downloadPart checks type and Args of a part (S6, S7, T7).
func downloadPart(m received, ended bool, path, name string) error {
	begins := m.HDR.Typ == callDownloadBegin
	goesOn := m.HDR.Typ == callDownloadMore || m.HDR.Typ == callDownloadEnd
	if ended || begins != (m.HDR.StreamPart == 0) || begins == goesOn {
		return fmt.Errorf("part %d has the type %d", m.HDR.StreamPart, m.HDR.Typ)
	}
	if m.HDR.Args["path"] != path || m.HDR.Args["filename"] != name || m.HDR.Args["pathsize"] == "" {
		return fmt.Errorf("part %d has the Args %v", m.HDR.StreamPart, m.HDR.Args)
	}
	return nil
}
