package gateway_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

func digest(i int) remit.Digest { return remit.Hash(fmt.Appendf(nil, "order %d", i)) }

func TestAnAnswerIsForItsTaskAndOrderOnce(t *testing.T) {
	a := gateway.Answers{Now: time.Now}
	a.Keep("T-1", digest(1), gateway.Answer{Status: 200, ContentType: "text/plain", Body: []byte("one")})
	if _, ok := a.Take("T-2", digest(1)); ok {
		t.Fatal("another task collects it")
	}
	if _, ok := a.Take("T-1", digest(2)); ok {
		t.Fatal("another order collects it")
	}
	if !a.Any("T-1") || a.Any("T-2") {
		t.Fatal("it is not known for whom something waits")
	}
	if v, ok := a.Take("T-1", digest(1)); !ok || string(v.Body) != "one" || v.Status != 200 || v.ContentType != "text/plain" {
		t.Fatalf("%+v %v", v, ok)
	}
	if _, ok := a.Take("T-1", digest(1)); ok || a.Any("T-1") {
		t.Fatal("it is collected twice")
	}
}

func TestAnAnswerHasItsTime(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	a := gateway.Answers{Now: func() time.Time { return now }}
	a.Keep("T-1", digest(1), gateway.Answer{})
	a.Keep("T-1", digest(2), gateway.Answer{})
	now = now.Add(gateway.AnswerLife - 1)
	if _, ok := a.Take("T-1", digest(1)); !ok {
		t.Fatal("it is gone before its time")
	}
	now = now.Add(1)
	if _, ok := a.Take("T-1", digest(2)); ok {
		t.Fatal("it is collected after its time")
	}
}

func TestOneTaskCannotCrowdOutAnother(t *testing.T) {
	a := gateway.Answers{Now: time.Now}
	a.Keep("T-1", digest(0), gateway.Answer{})
	for i := range 100 {
		a.Keep("T-2", digest(i), gateway.Answer{Body: make([]byte, 1<<20)})
	}
	if _, ok := a.Take("T-1", digest(0)); !ok {
		t.Fatal("the other task's answer is gone")
	}
	if _, ok := a.Take("T-2", digest(99)); !ok {
		t.Fatal("a task's newest answer is gone")
	}
	if _, ok := a.Take("T-2", digest(0)); ok {
		t.Fatal("a task keeps a hundred answers")
	}
}

func TestWhatWaitsInMemoryIsBounded(t *testing.T) {
	for name, body := range map[string][]byte{"in number": nil, "in bytes": make([]byte, 1<<20)} {
		t.Run(name, func(t *testing.T) {
			a := gateway.Answers{Now: time.Now}
			left := 0
			for i := range 1100 {
				a.Keep(remit.ID(fmt.Sprintf("T-%d", i)), digest(i), gateway.Answer{Body: body})
			}
			for i := range 1100 {
				if _, ok := a.Take(remit.ID(fmt.Sprintf("T-%d", i)), digest(i)); ok {
					left++
				}
			}
			if want := map[bool]int{true: 1024, false: 128}[body == nil]; left != want {
				t.Fatalf("%d answers wait, want %d", left, want)
			}
			a.Keep("T-1", digest(1), gateway.Answer{Body: body})
			if !a.Any("T-1") {
				t.Fatal("what was collected still takes room")
			}
		})
	}
}

func TestOneWaitsForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gateway.Answers{Now: time.Now}
		got := make(chan string, 2)
		for range 2 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				v, ok := a.Wait(ctx, "T-1", digest(1))
				got <- fmt.Sprint(string(v.Body), ok)
			}()
		}
		synctest.Wait()
		a.Keep("T-1", digest(2), gateway.Answer{Body: []byte("another")})
		synctest.Wait()
		a.Keep("T-1", digest(1), gateway.Answer{Body: []byte("one")})
		if first, second := <-got, <-got; first != "onetrue" || second != "false" {
			t.Fatalf("%q, %q", first, second)
		}
	})
}

func TestOneInstanceHasSoManySeats(t *testing.T) {
	var s gateway.Seats
	var leave func()
	for range 16 {
		l, ok := s.Take("I-1")
		if !ok {
			t.Fatal("a seat is missing")
		}
		leave = l
	}
	if _, ok := s.Take("I-1"); ok {
		t.Fatal("it has a seventeenth")
	}
	if _, ok := s.Take("I-2"); !ok {
		t.Fatal("another has none for that")
	}
	leave()
	if _, ok := s.Take("I-1"); !ok {
		t.Fatal("what was given back is not there")
	}
}
