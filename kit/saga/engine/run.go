package engine

import (
	"context"
	"time"

	"github.com/qiongdev/qiong/kit/saga"
)

// Run drives sagas until ctx ends, and returns when nothing of it runs any more. What is under way then goes on at the
// next start.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	e.life, e.running, e.more = ctx, true, true
	e.mu.Unlock()
	close(e.up)
	defer e.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.pollNow:
		case <-timer.C:
		}
		if err := e.poll(ctx); err != nil && ctx.Err() == nil {
			e.Log.Error("can't look for sagas that are due; trying again", "err", err)
		}
		timer.Reset(e.Poll)
	}
}

func (e *Engine) stop() {
	e.mu.Lock()
	e.running = false
	e.mu.Unlock()
	e.drivers.Wait()
}

// Wake has the table looked at now, for when the clock has moved.
func (e *Engine) Wake() {
	select {
	case e.pollNow <- struct{}{}:
	default:
	}
}

// poll queues instances that are due and not in memory yet.
func (e *Engine) poll(ctx context.Context) error {
	e.mu.Lock()
	e.dispatch()
	known := len(e.active) + len(e.queue)
	enough := len(e.queue) >= max(e.MaxActive/4, 1)
	e.left = map[string]bool{}
	e.mu.Unlock()
	if enough {
		return nil
	}
	limit := known + e.MaxActive
	due, err := e.ready(ctx, limit)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.more = len(due) == limit
	for _, s := range due {
		if e.active[s.ID] == nil && !e.queued[s.ID] && !e.left[s.ID] {
			e.resume(s)
			e.push(s.Instance)
		}
	}
	e.dispatch()
	return nil
}

// resume prepares an instance that was read from its row. e.mu must be held.
func (e *Engine) resume(s stored) {
	if k, ok := e.kinds[kindKey{s.Name, s.Version}]; ok && s.boot&^driverMask != e.boot {
		saga.Resume(k.Definition, s.Instance)
	}
}

// enqueue has a fresh instance driven as soon as there is room.
func (e *Engine) enqueue(in *saga.Instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) >= 4*e.MaxActive {
		e.more = true // polling will find it
		return
	}
	if e.active[in.ID] == nil && !e.queued[in.ID] {
		e.push(in)
	}
	e.dispatch()
}

func (e *Engine) push(in *saga.Instance) {
	e.queue = append(e.queue, in)
	e.queued[in.ID] = true
}

// dispatch drives queued instances while there is room. e.mu must be held.
func (e *Engine) dispatch() {
	room := e.MaxActive
	if e.Busy != nil && e.Busy() {
		room = max(room/16, 1)
	}
	for e.running && len(e.active) < room && len(e.queue) > 0 {
		in := e.queue[0]
		e.queue[0] = nil
		e.queue = e.queue[1:]
		if e.queued[in.ID] { // a command may have had it driven meanwhile
			e.drive(in)
		}
	}
	if len(e.queue) == 0 && e.more && e.running {
		e.more = false
		e.Wake()
	}
}

// drive starts a driver for in. e.mu must be held.
func (e *Engine) drive(in *saga.Instance) *driver {
	k, ok := e.kinds[kindKey{in.Name, in.Version}]
	if !ok {
		delete(e.queued, in.ID)
		e.Log.Error("a saga waits for its definition", "saga", in.ID, "name", in.Name, "version", in.Version)
		return nil
	}
	e.driven++
	dr := &driver{e: e, kind: k, in: in, life: e.boot | e.driven&driverMask, inFlight: map[string]bool{}, wake: make(chan struct{}, 1)}
	e.active[in.ID] = dr
	delete(e.queued, in.ID)
	ctx := e.life
	e.drivers.Go(func() {
		dr.run(ctx)
		e.leave(dr)
	})
	return dr
}

// leave forgets a driver and answers the commands that came too late for it.
func (e *Engine) leave(dr *driver) {
	e.mu.Lock()
	late := dr.inbox
	dr.inbox = nil
	if e.active[dr.in.ID] == dr {
		e.remove(dr.in.ID)
	}
	e.dispatch()
	e.mu.Unlock()
	for _, ev := range late {
		if ev.reply == nil {
			continue
		}
		if !dr.in.Status.Ended() {
			ev.reply(e.gone())
		} else if err := e.afterEnd(dr.in, ev); err != nil {
			ev.reply(err)
		}
	}
}

// remove forgets a driver. What the poll under way has read of its instance is out of date. e.mu must be held.
func (e *Engine) remove(id string) {
	delete(e.active, id)
	e.left[id] = true
}

// gone is the answer to a command whose driver has left before it: the engine stops, or somebody else drove the
// instance, and the command begins again.
func (e *Engine) gone() error {
	if e.life.Err() != nil {
		return stopped()
	}
	return errStale
}
