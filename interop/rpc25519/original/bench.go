package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/glycerine/rpc25519"
)

// As towline's benchmarks do it: callers warm up for so long before calls count.
const warmUp = 300 * time.Millisecond

// Connections dialled at once: quic-go refuses more than 32 that the server has not taken yet.
const dialledAtOnce = 16

// Phases of a measurement.
const (
	warming = iota
	counting
	stopped
)

// benchmark plays the client of towline's bench/ and prints what it measured as a list in JSON: calls a second, the
// median and the 99th percentile of their times in microseconds, and microseconds of processor time of both ends a call.
//
// TASK is TASK,SIZE,CONNECTIONS,SECONDS,SERVER_PID with the tasks echoes, a caller on each connection, and connects, a
// connection for each call.
func benchmark(args []string, task string) error {
	fields := strings.Split(task, ",")
	if len(fields) != 5 {
		return fmt.Errorf("%q is not TASK,SIZE,CONNECTIONS,SECONDS,SERVER_PID", task)
	}
	var numbers [3]int
	for at, field := range []string{fields[1], fields[2], fields[4]} {
		number, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		numbers[at] = number
	}
	size, connections, server := numbers[0], numbers[1], numbers[2]
	seconds, err := strconv.ParseFloat(fields[3], 64)
	if err != nil {
		return err
	}
	body := bytes.Repeat([]byte{0x5a}, size)
	call := func(client *rpc25519.Client) error {
		reply, err := (&peer{client}).call("echo", body)
		if err == nil && !bytes.Equal(reply.JobSerz, body) {
			err = fmt.Errorf("an echo differs from what was sent")
		}
		return err
	}
	callers := []func() error{func() error {
		client, err := dial(args, 0)
		if err != nil {
			return err
		}
		err = call(client)
		go client.Close()
		return err
	}}
	if fields[0] == "echoes" {
		clients, err := dialAll(args, connections, call)
		if err != nil {
			return err
		}
		callers = nil
		for _, client := range clients {
			callers = append(callers, func() error { return call(client) })
		}
	}
	figures, err := measure(callers, time.Duration(seconds*float64(time.Second)), server)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(figures)
}

// dial has a configuration for each connection, as over QUIC the clients of one share its socket and end with the first.
func dial(args []string, number int) (*rpc25519.Client, error) {
	cfg := config(args[1:6])
	cfg.ClientDialToHostPort = args[6]
	client, err := rpc25519.NewClient(fmt.Sprintf("client-%d", number), cfg)
	if err != nil {
		return nil, err
	}
	return client, client.Start()
}

// dialAll has each connection make a first call, too.
func dialAll(args []string, count int, call func(*rpc25519.Client) error) ([]*rpc25519.Client, error) {
	clients := make([]*rpc25519.Client, count)
	failed := make(chan error, count)
	places := make(chan struct{}, dialledAtOnce)
	var dialling sync.WaitGroup
	for number := range clients {
		dialling.Add(1)
		go func() {
			defer dialling.Done()
			places <- struct{}{}
			defer func() { <-places }()
			client, err := dial(args, number)
			clients[number] = client
			if err == nil {
				err = call(client)
			}
			if err != nil {
				failed <- err
			}
		}()
	}
	dialling.Wait()
	select {
	case err := <-failed:
		return nil, err
	default:
		return clients, nil
	}
}

func measure(callers []func() error, long time.Duration, server int) ([]float64, error) {
	var phase atomic.Int32
	type ended struct {
		times []time.Duration
		err   error
	}
	results := make(chan ended, len(callers))
	for _, call := range callers {
		go func() {
			var all ended
			for all.err == nil && phase.Load() != stopped {
				start := time.Now()
				all.err = call()
				if phase.Load() == counting {
					all.times = append(all.times, time.Since(start))
				}
			}
			results <- all
		}()
	}
	time.Sleep(warmUp)
	start, before := time.Now(), processorTime(server)
	phase.Store(counting)
	time.Sleep(long)
	phase.Store(stopped)
	elapsed, used := time.Since(start), processorTime(server)-before
	var times []time.Duration
	for range callers {
		all := <-results
		if all.err != nil {
			return nil, all.err
		}
		times = append(times, all.times...)
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("no call was answered")
	}
	slices.Sort(times)
	us := func(share float64) float64 {
		return float64(times[int(float64(len(times)-1)*share)].Nanoseconds()) / 1e3
	}
	calls := float64(len(times))
	return []float64{calls / elapsed.Seconds(), us(0.5), us(0.99), used * 1e6 / calls}, nil
}

// processorTime is what this process and another have used, in seconds, by Linux's /proc in ticks of 10 ms.
func processorTime(other int) float64 {
	ticks := 0
	for _, process := range []string{"self", strconv.Itoa(other)} {
		stat, err := os.ReadFile("/proc/" + process + "/stat")
		if err != nil {
			continue
		}
		_, fields, _ := strings.Cut(string(stat), ") ")
		for _, field := range strings.Fields(fields)[11:13] {
			number, _ := strconv.Atoi(field)
			ticks += number
		}
	}
	return float64(ticks) / 100
}
