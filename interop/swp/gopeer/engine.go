package main

import (
	"time"
)

// handle takes in a packet that could be read.
func (s *session) handle(p *packet) {
	if !s.accepts(p) {
		return
	}
	s.lastHeard = time.Now()
	switch p.event {
	case eventSyn:
		s.handleSyn(p)
		return
	case eventSynAck:
		if s.peerNonce == "" {
			s.peerNonce = p.fromNonce
		}
		if s.state != listening {
			s.state = open
			s.answer(eventEstabAck, p)
		}
	case eventEstabAck:
		if s.peerNonce == "" {
			s.peerNonce = p.fromNonce
		}
		s.state, s.repeats = open, nil
		if p.ackRetry == seqSyn {
			s.answer(eventEstabAck, &packet{retry: seqAnswer})
		}
	case eventFin:
		s.finReceived = true
		s.answer(eventFinAck, p)
	default:
		if s.state == answering && p.destNonce == s.nonce {
			s.state = open
		}
	}
	s.takeWindow(p)
	switch p.event {
	case eventFinAck:
		s.finAcked = true
	case eventDataAck:
		s.takeAnswer(p)
	case eventKeepAlive:
		s.answer(eventDataAck, p)
	case eventData:
		s.handleData(p)
	}
}

// accepts is docs/wire W20, W18.
func (s *session) accepts(p *packet) bool {
	switch {
	case p.from != s.options.Remote,
		p.destNonce != "" && p.destNonce != s.nonce,
		s.peerNonce != "" && p.fromNonce != s.peerNonce:
		return false
	case p.event == eventSyn:
		return true
	case p.destNonce == "":
		return false
	}
	return s.state != listening
}

// handleSyn is docs/wire W14 to W16.
func (s *session) handleSyn(p *packet) {
	isFirst := s.peerNonce == ""
	s.peerNonce = p.fromNonce
	switch {
	case s.state == listening:
		s.state = answering
		s.handshake = timer{time.Now().Add(synAckEach), synAckEach}
		s.answer(eventSynAck, p)
	case s.state == opening && isFirst:
		s.state = answering
		s.answer(eventEstabAck, p)
		for _, after := range crossedRepeats {
			s.repeats = append(s.repeats, time.Now().Add(after))
		}
	default:
		s.answer(eventSynAck, p)
	}
}

// takeWindow takes acknowledgement and edge, which every packet has (docs/wire W27, W28, W34).
func (s *session) takeWindow(p *packet) {
	if p.ack >= s.next || p.ack < -1 {
		return
	}
	isHandshake := p.event == eventSynAck || p.event == eventEstabAck || p.event == eventFin
	for !isHandshake && s.first <= p.ack {
		s.ackedBytes = s.waiting[0].packet.cumulative
		s.waiting = s.waiting[1:]
		s.first++
	}
	s.edge = max(s.edge, p.ack+p.windowMessages)
	if p.ack == s.first-1 {
		s.edgeBytes = max(s.edgeBytes, s.ackedBytes+p.windowBytes)
	}
}

// takeAnswer is docs/wire W30, W31: the transmission that an answer names has arrived; who left before it and a round
// trip ago is lost.
func (s *session) takeAnswer(p *packet) {
	if p.ackRetry < 0 {
		return
	}
	now := time.Now()
	s.sample(now.Sub(p.sent))
	for _, t := range s.waiting {
		if t.packet.sent.Equal(p.sent) {
			t.arrived = true
		}
	}
	for _, t := range s.waiting {
		if !t.arrived && t.packet.sent.Before(p.sent) && now.Sub(t.packet.sent) > s.smoothed*9/8 {
			s.transmitAgain(t)
		}
	}
}

func (s *session) sample(trip time.Duration) {
	if trip < 0 || trip > time.Minute {
		return
	}
	if s.smoothed == 0 {
		s.smoothed, s.deviation = trip, trip/2
		return
	}
	s.deviation += ((s.smoothed - trip).Abs() - s.deviation) / 4
	s.smoothed += (trip - s.smoothed) / 8
}

func (s *session) timeout() time.Duration {
	if s.smoothed == 0 {
		return timeoutFirst
	}
	return max(timeoutLeast, s.smoothed+4*s.deviation)
}

// handleData is docs/wire W23, W37.
func (s *session) handleData(p *packet) {
	_, isHeld := s.held[p.seq]
	switch {
	case p.seq < 0:
		return
	case p.seq < s.expected || isHeld:
		s.answer(eventDataAck, p)
		return
	case p.seq >= s.consumed()+s.options.Window:
		s.say(packet{event: eventUpdate, seq: seqAnswer, retry: seqAnswer, ackSent: time.Now()})
		return
	}
	isInOrder := p.seq == s.expected && len(s.held) == 0
	s.held[p.seq] = p.data
	s.heldBytes += int64(len(p.data))
	for content, ok := s.held[s.expected]; ok; content, ok = s.held[s.expected] {
		delete(s.held, s.expected)
		s.heldBytes -= int64(len(content))
		s.readySize += int64(len(content))
		s.ready = append(s.ready, content)
		s.expected++
	}
	if !isInOrder || s.unanswered != nil || 2*int64(len(s.ready)) > s.options.Window {
		s.answer(eventDataAck, p)
		return
	}
	s.unanswered, s.unansweredSince = p, time.Now()
}

func (s *session) consumed() int64 { return s.expected - int64(len(s.ready)) }

// handleTime does what is due.
func (s *session) handleTime(now time.Time) {
	if s.unanswered != nil && now.Sub(s.unansweredSince) >= ackDelay {
		s.answer(eventDataAck, s.unanswered)
	}
	if len(s.repeats) > 0 && !now.Before(s.repeats[0]) {
		s.repeats = s.repeats[1:]
		s.answer(eventEstabAck, &packet{retry: seqSyn})
	}
	if s.state != open && s.handshake.after > 0 && !now.Before(s.handshake.at) {
		if s.state == opening {
			s.sendSyn()
		} else {
			s.handshake.at = now.Add(synAckEach)
			s.answer(eventSynAck, &packet{retry: seqSyn})
		}
	}
	if s.state != open {
		return
	}
	if now.Sub(s.lastHeard) > deadAfter {
		s.fail("nothing was heard of the peer")
	}
	// docs/wire W31: without answers one at a time, the first.
	for _, t := range s.waiting {
		if t.arrived {
			continue
		}
		if now.Sub(t.packet.sent) > t.timeout {
			t.timeout = min(2*t.timeout, timeoutMost)
			s.transmitAgain(t)
		}
		break
	}
	pause := keepAliveEach
	if s.next > s.edge {
		pause = keepAliveStuck
	}
	if now.Sub(s.lastSaid) > pause {
		s.lastSaid = now
		s.say(packet{event: eventKeepAlive, seq: seqKeepAlive, retry: seqKeepAlive, ackRetry: seqKeepAlive, sent: s.stamp()})
	}
	if !s.finNext.IsZero() && !now.Before(s.finNext) && s.finSent < finTimes {
		s.finSent++
		s.finNext = now.Add(finEach)
		s.lastSaid = now
		s.say(packet{event: eventFin, seq: seqFin, retry: seqFin, ackRetry: seqFin, sent: s.stamp()})
	}
}

func (s *session) sendSyn() {
	after := synFirst
	if s.handshake.after > 0 {
		after = min(2*s.handshake.after, synLongest)
	}
	s.handshake = timer{time.Now().Add(after), after}
	s.publish(packet{
		from: s.options.Local, dest: s.options.Remote, fromNonce: s.nonce,
		event: eventSyn, seq: seqSyn, retry: seqSyn, ack: -1,
	})
}

// answer is docs/wire W29.
func (s *session) answer(event int64, to *packet) {
	s.say(packet{
		event: event, seq: seqAnswer, retry: seqAnswer, ackRetry: to.retry, sent: to.sent, ackSent: time.Now(),
	})
}

func (s *session) transmit(t *transmission) {
	t.packet.sent = s.stamp()
	s.lastSaid = time.Now()
	s.say(t.packet)
}

func (s *session) transmitAgain(t *transmission) {
	t.packet.retry++
	s.transmit(t)
}

// stamp is a time that nothing else of the session has (docs/wire W26).
func (s *session) stamp() time.Time {
	now := time.Now()
	if !now.After(s.lastStamp) {
		now = s.lastStamp.Add(1)
	}
	s.lastStamp = now
	return now
}

// say sends a packet with all that every packet has.
func (s *session) say(p packet) {
	p.from, p.dest = s.options.Local, s.options.Remote
	p.fromNonce, p.destNonce = s.nonce, s.peerNonce
	p.ack = s.expected - 1
	p.windowMessages = s.options.Window - int64(len(s.ready))
	p.windowBytes = s.options.Bytes - s.readySize - s.heldBytes
	p.rttDeviation = 10_000_000
	s.toldEdge = p.ack + p.windowMessages
	s.unanswered = nil
	s.publish(p)
}

// publish hands a packet to the broker. What cannot be sent is lost, as anything may be.
func (s *session) publish(p packet) {
	_ = s.nc.Publish(p.dest, p.encode())
}
