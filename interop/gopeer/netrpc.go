package main

import (
	"bytes"
	"errors"
	"fmt"
)

const callNetRPC = 2

// netRPCBody is the body of a request: the header in tuple form, and the argument behind it (C23).
func netRPCBody(method string, seq uint64, argument []byte) []byte {
	b := appendText([]byte{0x92}, method)
	return append(appendUint(b, seq), argument...)
}

// netRPC calls a method with an argument in greenpack and returns the value, or the error of the
// reply's header as an error. With leave it cancels the call once it is sent.
func (cl *client) netRPC(method string, argument []byte, leave bool) ([]byte, error) {
	cl.seqno++
	seq := cl.seqno
	request := cl.begin(callNetRPC, method, nil, netRPCBody(method, seq, argument))
	if err := cl.conn.send(cl.press, request); err != nil {
		return nil, err
	}
	if leave {
		cl.cancel(request)
	}
	reply, err := cl.next(request)
	if err != nil {
		return nil, err
	}
	// The header begins with the method and the number of the request.
	begins := appendUint(appendText([]byte{0x93}, method), seq)
	rest, ok := bytes.CutPrefix(reply.JobSerz, begins)
	if !ok {
		return nil, fmt.Errorf("the header of the reply is another one: %x", reply.JobSerz)
	}
	for n := 0; n <= 255; n++ {
		// An error text has one of two forms at these lengths.
		text := appendText(nil, string(make([]byte, n)))
		head := text[:len(text)-n]
		if !bytes.HasPrefix(rest, head) || len(rest) < len(text) {
			continue
		}
		if n == 0 {
			return rest[1:], nil
		}
		if value := rest[len(text):]; !bytes.Equal(value, []byte{0x91, 0}) {
			return nil, fmt.Errorf("behind an error stands %x", value)
		}
		return nil, errors.New(string(rest[len(head):len(text)]))
	}
	return nil, fmt.Errorf("the reply has no error text: %x", rest)
}

// netRPCExamples calls the services of the example net_rpc, in the forms of docs/wire.
func (cl *client) netRPCExamples() error {
	cases := []struct {
		method          string
		argument, value []byte
		failure         string
	}{
		{"Arith.Add", []byte{0x92, 7, 8}, []byte{0x91, 15}, ""},
		{"net.rpc.Arith.Mul", []byte{0x92, 0xd1, 1, 0x2c, 0xd1, 0xfe, 0xd4}, []byte{0x91, 0xd2, 0xff, 0xfe, 0xa0, 0x70}, ""},
		{"Arith.Div", []byte{0x92, 7, 0}, nil, "divide by zero"},
		{"Arith.Error", []byte{0x92, 7, 0}, nil, "ERROR"},
		{"Arith.String", []byte{0x92, 7, 8}, appendText(nil, "7+8=15"), ""},
		{"Arith.Scan", appendText(nil, "41"), []byte{0x91, 41}, ""},
		{"BuiltinTypes.Map", []byte{0x92, 7, 8}, []byte{0x81, 7, 8}, ""},
		{"BuiltinTypes.Slice", []byte{0x92, 7, 8}, []byte{0x92, 7, 8}, ""},
		{"BuiltinTypes.Array", []byte{0x92, 7, 8}, []byte{0x92, 7, 8}, ""},
		{"BuiltinTypes.WantsContext", []byte{0x92, 7, 8}, []byte{0x92, 7, 8}, ""},
		{"Arith.BadOperation", []byte{0x92, 7, 8}, nil, "rpc: can't find method Arith.BadOperation"},
		{"Nope.BadOperation", []byte{0x92, 7, 8}, nil, "rpc: can't find service Nope.BadOperation"},
		{"nodots", []byte{0x92, 7, 8}, nil, "rpc: service/method request ill-formed: nodots"},
		{"Arith.Add", nil, nil, "EOF"},
		{"Arith.Add", []byte{0x80}, nil, `msgp: attempted to decode type "map" with method for "array"`},
	}
	for _, c := range cases {
		value, err := cl.netRPC(c.method, c.argument, false)
		switch {
		case c.failure != "" && (err == nil || err.Error() != c.failure):
			return fmt.Errorf("%s: %x, %v instead of %q", c.method, value, err, c.failure)
		case c.failure == "" && (err != nil || !bytes.Equal(value, c.value)):
			return fmt.Errorf("%s: %x, %v instead of %x", c.method, value, err, c.value)
		}
		fmt.Println("as expected:", c.method)
	}
	_, err := cl.netRPC("MustBeCancelled.WillHangUntilCancel", []byte{0x92, 1, 2}, true)
	if err == nil {
		return errors.New("a cancelled call succeeded")
	}
	fmt.Println("cancelled:", err)
	return nil
}
