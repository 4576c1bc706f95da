package signer

import (
	"net"
	"slices"
)

// peer is a connection that has a place at the server.
type peer struct {
	*net.UnixConn
	uid     uint32
	pid     int32
	signing bool // a signature is being made for it
}

// place gives a connection a place. Where all are taken, the connection that is idle for longest gives up its own, so that
// nobody keeps others out by what they hold; one that is asking for a signature keeps it. The client of a connection that
// was closed while it was idle makes another.
func (s *Server) place(p *peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.peers) >= s.o.Connections {
		i := slices.IndexFunc(s.peers, func(p *peer) bool { return !p.signing })
		if i < 0 {
			return false
		}
		_ = s.peers[i].Close() // nothing is under way on it
		s.peers = slices.Delete(s.peers, i, i+1)
	}
	s.peers = append(s.peers, p)
	return true
}

// mark says that a connection is being signed for, or idle from now on.
func (s *Server) mark(p *peer, signing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.signing = signing
	if i := slices.Index(s.peers, p); i >= 0 { // else its place was given away just now
		s.peers = append(slices.Delete(s.peers, i, i+1), p)
	}
}

// leave gives a place back.
func (s *Server) leave(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.peers, p); i >= 0 {
		s.peers = slices.Delete(s.peers, i, i+1)
	}
}
