package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/launch"
)

func newWait(a *app) *cobra.Command {
	var timeout span
	c := &cobra.Command{
		Use:   "wait REQUEST",
		Short: "Wait until a request was carried out, or is void",
		Long: `Waits until people have decided and Remit has done what they approved. The exit code is 0 when it was done, 3 when it was
refused or is void, 75 when it still waits after --timeout. It works for people and, inside remit run, for the agent
itself; the agent need not send anything again.`,
		Example: `  remit wait A-41
  remit wait A-41 --timeout 10m || echo "goes on without it"`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := a.await(cmd.Context(), remit.ID(args[0]), time.Duration(timeout))
			if err != nil {
				return err
			}
			if err := a.print(v, func() { a.printf("%s\n", waited(v)) }); err != nil {
				return err
			}
			return waitError(v)
		},
	}
	c.Flags().Var(&timeout, "timeout", "how long to wait; by default until it is decided")
	return c
}

// await returns when a request has ended, or with it as it is when the time is over; 0 is no limit. Signing in does not
// count: it may need a person's touch.
func (a *app) await(signIn context.Context, id remit.ID, timeout time.Duration) (remit.AccessView, error) {
	look, last, err := a.waiter(signIn, id)
	if err != nil {
		return remit.AccessView{}, err
	}
	ctx := signIn
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	for {
		v, err := look(ctx, id)
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded) && last.ID != "":
			return last, nil
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return remit.AccessView{ID: id, Status: remit.AccessOpen}, nil // only the instance's socket was asked: it still waits
		case isCode(err, remit.Unauthenticated) && last.ID != "":
			// A session is shorter than people's patience: sign in again.
			if look, last, err = a.waiter(signIn, id); err != nil {
				return last, err
			}
			continue
		case err != nil:
			return v, err
		case v.Status == remit.AccessUsed || v.Status == remit.AccessVoid:
			return v, nil
		}
		last = v
	}
}

// waiter asks the server as a person, and then gives the request as it is now, or, inside an instance, through the
// instance's own socket.
func (a *app) waiter(ctx context.Context, id remit.ID) (look func(context.Context, remit.ID) (remit.AccessView, error), now remit.AccessView, err error) {
	if socket := a.getenv("REMIT_SOCKET"); a.getenv("REMIT_INSTANCE") != "" && socket != "" {
		return func(ctx context.Context, id remit.ID) (remit.AccessView, error) {
			return launch.WaitThrough(ctx, socket, id)
		}, now, nil
	}
	s, err := a.connect(ctx)
	if err != nil {
		return nil, now, err
	}
	now, err = s.Access(ctx, id)
	return func(ctx context.Context, id remit.ID) (remit.AccessView, error) {
		return s.WaitAccess(ctx, id, "", nil)
	}, now, err
}

// waited says how a request stands.
func waited(v remit.AccessView) string {
	id := visible(string(v.ID))
	switch v.Status {
	case remit.AccessUsed:
		switch v.Outcome {
		case remit.Done, "":
			return id + " was approved and is done"
		case remit.AfterRevocation:
			return id + " was done, and its authority had ended while it was on its way"
		}
		next := "somebody has to look at the upstream"
		if r, ok := receiptOf(v.Receipt); ok {
			next = visible(strings.TrimSuffix(r.Why+"; "+r.Next, "; "))
		}
		return id + " was approved; its outcome is " + visible(string(v.Outcome)) + ": " + next
	case remit.AccessVoid:
		return id + " is void: " + visible(v.Why.Info().Meaning)
	case remit.AccessMet, remit.AccessReserved:
		return id + " is approved and not carried out yet"
	}
	return id + " still waits for " + orPeople(needLine(v.Needs))
}

// account is what the receipt of a deployment says to people.
type account struct{ Why, Next, Exit, Output string }

// receiptOf reads a receipt that says more than a text.
func receiptOf(receipt string) (r account, ok bool) {
	return r, json.Unmarshal([]byte(receipt), &r) == nil && r.Why != ""
}

// receiptLines is a receipt as people read it.
func receiptLines(receipt string) string {
	r, ok := receiptOf(receipt)
	if !ok {
		return visibleText(receipt)
	}
	lines := []string{visible(r.Why)}
	if r.Next != "" {
		lines = append(lines, "next: "+visible(r.Next))
	}
	if r.Exit != "" {
		lines = append(lines, "the command ended with "+visible(r.Exit))
	}
	if out := strings.TrimRight(r.Output, "\n"); out != "" {
		lines = append(lines, "it printed: "+visibleText(out))
	}
	return strings.Join(lines, "\n")
}

func orPeople(needs string) string {
	if needs == "" {
		return "people"
	}
	return needs
}

// waitError is how a request stands, to a shell.
func waitError(v remit.AccessView) error {
	switch v.Status {
	case remit.AccessUsed:
		if v.Outcome == remit.Ambiguous || v.Outcome == remit.NotApplied {
			return exitCode(remit.ExitError)
		}
		return nil
	case remit.AccessVoid:
		return exitCode(remit.ExitDenied)
	}
	return exitCode(remit.ExitWaiting)
}
