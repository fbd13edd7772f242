package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// vector is one entry of the files of real bytes that the Rust tests use too.
type vector struct {
	Name    string
	Hex     string
	Decoded struct {
		HDR        *vectorHeader
		JobSerzHex *string `json:"JobSerz_hex"`
		JobErrs    string
		TotalLen   int    `json:"total_len"`
		Error      string `json:"error"`
		Panic      string `json:"panic"`
		Press      *byte  `json:"magic7"`
		PlainSum   string `json:"plaintext_sha256"`
	}
}

type vectorTime struct {
	Seconds int64 `json:"unix_sec"`
	Nanos   int64 `json:"nanos"`
}

// vectorHeader hides the times of header, which JSON has in another form.
type vectorHeader struct {
	header
	Created, LocalRecvTm, Deadline *vectorTime
}

func (v *vectorHeader) want() header {
	h := v.header
	at := func(t *vectorTime) time.Time {
		if t == nil {
			return time.Time{}
		}
		return time.Unix(t.Seconds, t.Nanos).UTC()
	}
	h.Created, h.LocalRecvTm, h.Deadline = at(v.Created), at(v.LocalRecvTm), at(v.Deadline)
	return h
}

func vectors(t *testing.T, file string) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../crates/towline-rpc/tests/vectors", file))
	if err != nil {
		t.Fatal(err)
	}
	var read []vector
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if len(read) == 0 {
		t.Fatal("no vectors in", file)
	}
	return read
}

func (v *vector) bytes(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// check compares a decoded message with what the original made, or read.
func (v *vector) check(t *testing.T, m *message) {
	t.Helper()
	if want := v.Decoded.HDR.want(); !reflect.DeepEqual(m.HDR, want) {
		t.Errorf("header\n%+v, not\n%+v", m.HDR, want)
	}
	if want := v.Decoded.JobSerzHex; want != nil && hex.EncodeToString(m.JobSerz) != *want {
		t.Errorf("body %x, not %s", m.JobSerz, *want)
	}
	if got := strings.ToValidUTF8(m.JobErrs, "\ufffd\ufffd"); got != v.Decoded.JobErrs {
		t.Errorf("JobErrs %q, not %q", got, v.Decoded.JobErrs)
	}
}

func TestMessagesAreEncodedAsTheOriginalDoes(t *testing.T) {
	seen := 0
	for _, v := range vectors(t, "greenpack-encode.json") {
		// Cut off, or with the entries of G13, which a reader skips and nobody writes.
		cut, streaming := v.Decoded.TotalLen > 0, strings.HasPrefix(v.Name, "encodemsg-")
		if cut {
			continue
		}
		seen++
		t.Run(v.Name, func(t *testing.T) {
			m, err := decode(v.bytes(t))
			if err != nil {
				t.Fatal(err)
			}
			v.check(t, m)
			// The original's Args have no order (G11).
			if streaming || len(m.HDR.Args) > 1 {
				return
			}
			if got := m.encode(); !bytes.Equal(got, v.bytes(t)) {
				t.Errorf("encoded as\n%x, not\n%s", got, v.Hex)
			}
		})
	}
	if seen < 50 {
		t.Errorf("only %d messages were compared", seen)
	}
}

func TestMessagesAreDecodedByTheRules(t *testing.T) {
	// Where the rules differ from the original on purpose.
	type result struct {
		typ    int64
		seqno  uint64
		serial int64
	}
	differ := map[string]result{
		"int-as-uint8":  {typ: 12},     // G21
		"int-as-uint16": {serial: 256}, // G21
		"uint-as-int16": {seqno: 256},  // G21
		"nil-key":       {typ: 1},      // G23
		"empty-str-key": {typ: 1},      // G23
		"bin-key":       {},            // G23
	}
	for _, v := range vectors(t, "greenpack-decode.json") {
		t.Run(v.Name, func(t *testing.T) {
			m, err := decode(v.bytes(t))
			want, differs := differ[v.Name]
			switch {
			case differs:
				if err != nil || (result{m.HDR.Typ, m.HDR.Seqno, m.HDR.Serial}) != want {
					t.Errorf("%+v, %v", m, err)
				}
			case v.Decoded.HDR == nil:
				if err == nil {
					t.Errorf("decoded as %+v", m)
				}
			case err != nil:
				t.Error(err)
			default:
				v.check(t, m)
			}
		})
	}
}

func TestFramesOfTheOriginalAreRead(t *testing.T) {
	seen := map[byte]int{}
	for _, file := range []string{
		"frames.json", "calls.json", "streams.json", "push.json", "keepalive.json",
		"callerror-rpc.json", "callerror-oneway.json", "callerror-upload.json",
	} {
		for _, v := range vectors(t, file) {
			if v.Decoded.HDR == nil {
				continue
			}
			press := v.bytes(t)[7]
			if press > pressS2 && press < pressOff {
				continue // LZ4 and zstd are not implemented
			}
			seen[press]++
			t.Run(v.Name, func(t *testing.T) {
				got, body, err := readFrame(bytes.NewReader(v.bytes(t)))
				if err != nil || got != press {
					t.Fatal(got, err)
				}
				m, err := decode(body)
				if err != nil {
					t.Fatal(err)
				}
				v.check(t, m)
				// The original's Args have no order (G11), and compressed bytes need not be equal (F19).
				if press == pressS2 || len(m.HDR.Args) > 1 {
					return
				}
				if again, err := frame(press, m.encode()); err != nil || !bytes.Equal(again, v.bytes(t)) {
					t.Errorf("written as\n%x, %v, not\n%s", again, err, v.Hex)
				}
			})
		}
	}
	if seen[pressNone] < 20 || seen[pressS2] < 4 || seen[pressOff] < 1 {
		t.Errorf("too few frames were read: %v", seen)
	}
}

func TestS2OfTheOriginalIsDecompressed(t *testing.T) {
	seen := 0
	for _, v := range vectors(t, "compression.json") {
		if !strings.HasPrefix(v.Name, "s2-") {
			continue
		}
		seen++
		plain, err := decompress(pressS2, v.bytes(t))
		if sum := sha256.Sum256(plain); err != nil || hex.EncodeToString(sum[:]) != v.Decoded.PlainSum {
			t.Errorf("%s: %d bytes, %v", v.Name, len(plain), err)
		}
	}
	if seen < 5 {
		t.Errorf("only %d streams were decompressed", seen)
	}
}

func TestBadFramesAreRefused(t *testing.T) {
	for _, name := range []string{"magic7-8", "magic7-255", "wrong-magic", "bad-s2"} {
		found := false
		for _, v := range vectors(t, "hostile-frames.json") {
			if v.Name != name {
				continue
			}
			found = true
			if _, _, err := readFrame(bytes.NewReader(v.bytes(t))); err == nil {
				t.Errorf("%s was read", name)
			}
		}
		if !found {
			t.Errorf("no vector %s", name)
		}
	}
}

func TestTheHashOfNothingIsThatOfTheRules(t *testing.T) {
	if got := hashText(nil); got != "blake3.32B-rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=" {
		t.Error(got)
	}
}
