package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// Packets of the original are read and written bit for bit.
func TestVectors(t *testing.T) {
	count := 0
	for _, name := range []string{"packets_by_role", "live_nats_session", "live_memory_network_sessions"} {
		text, err := os.ReadFile("../../../crates/towline-swp/tests/vectors/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var vectors []struct{ Name, Hex string }
		if err := json.Unmarshal(text, &vectors); err != nil {
			t.Fatal(err)
		}
		for _, vector := range vectors {
			p, err := decodeHex(vector.Hex)
			if err != nil {
				t.Fatalf("%s: %v", vector.Name, err)
			}
			if got := hex.EncodeToString(p.encode()); got != vector.Hex {
				t.Errorf("%s: %s, not %s", vector.Name, got, vector.Hex)
			}
			count++
		}
	}
	if count < 80 {
		t.Errorf("only %d packets", count)
	}
}

func decodeHex(text string) (*packet, error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	return decode(raw)
}
