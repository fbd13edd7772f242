package main

import (
	"bytes"
	"io"
	"math"

	"github.com/mkorman9/tiny/tinytcp"
)

// values is one of each of tinytcp's values.
type values struct {
	flag    bool
	octet   byte
	short   int16
	integer int32
	long    int64
	single  float32
	double  float64
	varInt  int
	varLong int64
	array   []byte
	text    string
}

func (v values) write(w io.Writer) error {
	for _, write := range []func() error{
		func() error { return tinytcp.WriteBool(w, v.flag) },
		func() error { return tinytcp.WriteByte(w, v.octet) },
		func() error { return tinytcp.WriteInt16(w, v.short) },
		func() error { return tinytcp.WriteInt32(w, v.integer) },
		func() error { return tinytcp.WriteInt64(w, v.long) },
		func() error { return tinytcp.WriteFloat32(w, v.single) },
		func() error { return tinytcp.WriteFloat64(w, v.double) },
		func() error { return tinytcp.WriteVarInt(w, v.varInt) },
		func() error { return tinytcp.WriteVarLong(w, v.varLong) },
		func() error { return tinytcp.WriteByteArray(w, v.array) },
		func() error { return tinytcp.WriteString(w, v.text) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

func readValues(r io.Reader) (v values, err error) {
	for _, read := range []func() error{
		func() (err error) { v.flag, err = tinytcp.ReadBool(r); return },
		func() (err error) { v.octet, err = tinytcp.ReadByte(r); return },
		func() (err error) { v.short, err = tinytcp.ReadInt16(r); return },
		func() (err error) { v.integer, err = tinytcp.ReadInt32(r); return },
		func() (err error) { v.long, err = tinytcp.ReadInt64(r); return },
		func() (err error) { v.single, err = tinytcp.ReadFloat32(r); return },
		func() (err error) { v.double, err = tinytcp.ReadFloat64(r); return },
		func() (err error) { v.varInt, err = tinytcp.ReadVarInt(r); return },
		func() (err error) { v.varLong, err = tinytcp.ReadVarLong(r); return },
		func() (err error) { v.array, err = tinytcp.ReadByteArray(r); return },
		func() (err error) { v.text, err = tinytcp.ReadString(r); return },
	} {
		if err := read(); err != nil {
			return v, err
		}
	}
	return v, nil
}

// same compares floats by their bits: a NaN is to come back as it was.
func (v values) same(other values) bool {
	return v.flag == other.flag && v.octet == other.octet && v.short == other.short && v.integer == other.integer &&
		v.long == other.long && math.Float32bits(v.single) == math.Float32bits(other.single) &&
		math.Float64bits(v.double) == math.Float64bits(other.double) && v.varInt == other.varInt &&
		v.varLong == other.varLong && bytes.Equal(v.array, other.array) && v.text == other.text
}

// samples are what a client sends: ordinary values, and the ends of what there is. A negative VarInt is missing: its
// writer would never end.
var samples = []values{
	{true, 200, -12345, -1234567890, -1234567890123456789, 1.5, -2.25, 25565, 300, []byte{0, 255, 7}, "hello, wörld"},
	{false, 0, math.MaxInt16, math.MaxInt32, math.MaxInt64, math.MaxFloat32, math.SmallestNonzeroFloat64, math.MaxInt32, math.MaxInt64, nil, ""},
	{true, 255, math.MinInt16, math.MinInt32, math.MinInt64, math.Float32frombits(1 << 31), math.Float64frombits(0x7ff8_0000_dead_beef), 0, 127, make([]byte, 70000), "\x00"},
}
