/*
 * Who owns a binding: the protocol of cluster/ownership.ts, succession.ts, failure-detector.ts and hand-over.ts, consent.ts as a model for Spin, with
 * three nodes and one binding. `npm run model` checks it; scripts/model.ts says which runs there are, and which of them must fail.
 *
 * Checked in every state:
 *   one speaker      no node can speak for the binding behind one that had a greater claim (epoch, then id)
 *   never two hands  at most one node can speak at any instant: a connection is in one hand, as connections move with their binding
 *   no dispute       terms come to an end: no more of them than the faults of a run can ask for
 * and in every state in which nothing is left to happen, when all faults are over and mended:
 *   somebody owns    one node owns the binding and can speak, and all nodes know it by the same term
 *
 * A node "can speak" when it owns, runs, holds its lease and its port is open; no matter whether the link is cut, as there are clients on
 * both sides of a cut.
 *
 * Faults, by the macros below: death and restart of a node (terms are durable), stop and wake, before or behind the end of its lease;
 * a cut of the link, of the control network or of both around one node, and its end; loss of the word that a binding is handed over; fences
 * that are confirmed (a shut port), and those that are not. Other declarations are repeated, so that their loss is delay, and every step
 * may be delayed; only of a node that dies right behind its claim the claim is taken to have come wherever there was a way.
 *
 * Time is order. What the constants of cluster/node-options.ts promise stands here as conditions of steps:
 *   leaseMs < silenceMs      who stopped is suspected only when its lease has run out
 *                            and what was said until then has been heard by those who run
 *   renewMs < bootMs         who boots, or has lost its lease, hears an owner that it can hear before it claims
 *   patienceMs > a claim     who claims has heard what was claimed before, if it can hear it: the next in line waits as long
 *   a lease, a fence < a start of a process
 *   turnLeaseMs < a transfer a binding on its way is claimed by a third node only when its taker has stopped for so long that it refuses
 *   a quorum's leaseMs < silenceMs, leaseMs + margin
 *                            with QUORUM: whoever is on the wrong side of a cut has fallen silent before anybody suspects it for the cut,
 *                            and until then all go on as if there were none; who wakes looks at its quorum before it speaks
 *   2 leases, from an owner that cannot be fenced
 *                            with QUORUM: who was stopped behind a cut has woken, and fallen silent or been heard, before another claims
 *   a consent, a claim that is said again, a stop < what a consent binds
 *                            with QUORUM: who consents does so to nobody else while who it consented to may claim, or has and speaks unheard
 * A machine that is so busy that one of these does not hold is outside of the model; the mutants show what that costs.
 *
 * Not in the model: the contents of connections (the simulator and the laws check those), several bindings, snapshots and who lacks what
 * (the order of succession is free here), authentication, a plain YIELD at shutdown.
 */

#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef STOPS
#define STOPS 1
#endif
#ifndef MOVES
#define MOVES 1
#endif
/* How often the word of a hand-over is lost. */
#ifndef LOSSES
#define LOSSES 0
#endif
/* Cuts of the link alone, of the control network alone, and of both at once. */
#ifndef LINK_CUTS
#define LINK_CUTS 0
#endif
#ifndef CONTROL_CUTS
#define CONTROL_CUTS 0
#endif
#ifndef BOTH_CUTS
#define BOTH_CUTS 0
#endif
/* Fences: 1 confirmed, 0 not, 2 either. */
#ifndef FENCES
#define FENCES 1
#endif

/* Mutants. NO_LEASE_WAIT: claims from who was stopped without fence, and before its lease has run out. NO_TURNS: claims before it has heard what was claimed. NO_LISTENING: a node
 * that boots claims at once. NO_LEASE: who was stopped speaks on when it wakes. EARLY_TRANSFER: speaks on until the binding is taken.
 * With QUORUM, more than half must be heard to own: DEAF_OWNER owns on without; DEAF_CLAIM claims without; LATE_FALL: the owner may fall
 * silent later than others claim; NO_CONSENT: claims when it hears enough others, and does not ask them; SHORT_WAIT: claims from an owner that
 * cannot be fenced without waiting for who was stopped behind a cut. */

#ifdef QUORUM
/* Who has fallen silent for want of others claims again when they are back. */
#define FALLS (CRASHES + STOPS + LINK_CUTS + CONTROL_CUTS + BOTH_CUTS)
#else
#define FALLS 0
#endif
#define MAX_TERMS (2 + CRASHES + STOPS + 2 * MOVES + 2 * LINK_CUTS + 2 * CONTROL_CUTS + 2 * BOTH_CUTS + FALLS)

#define DOWN 0
#define STANDBY 1
#define CLAIMING 2 /* suspects, and has asked for a fence */
#define SILENCED 3 /* the fence has been answered */
#define OWNER 4

/* Of node n: its state; the term and owner it knows of (0: nobody); the highest term it knows of, durable. */
byte state[4];
byte epoch[4];
byte owner[4];
byte highest[4];
/* It runs; no lease of it has run out unnoticed; its port is shut. */
bool running[4];
bool lease[4];
bool shut[4];
/* Its last hand-over: to whom, and whether that is still to be heard. Whose hand-over it has refused. The binding is its to claim. */
byte given[4];
bool underway[4];
byte refused[4];
bool accepted[4];
/* Which node is cut off; 0: none. */
byte linkCut, controlCut;
/* With QUORUM: no lease has passed since the control network was cut. */
bool fresh;
byte crashes = CRASHES, stops = STOPS, moves = MOVES, losses = LOSSES;
byte linkCuts = LINK_CUTS, controlCuts = CONTROL_CUTS, bothCuts = BOTH_CUTS;
/* The greatest claim that has come to n and that it has not looked at: it lies there even when its maker is dead. */
byte mailEpoch[4], mailOwner[4];
/* With QUORUM: the term that n may claim in, by another's consent, or 0; to whom n has consented, and in which term. */
byte consented[4], consentTo[4], consentAt[4];
/* With QUORUM: it has begun, and consents to nothing, as it does not know whom it has consented to before. */
bool young[4];
/* The greatest claim that could speak so far. */
byte spokenEpoch, spokenOwner;

#define alive(n) (state[n] != DOWN)
#define acts(n) (state[n] != DOWN && running[n] && lease[n])
#define onLink(n, m) (!shut[n] && !shut[m] && linkCut != n && linkCut != m)
#define onControl(n, m) (controlCut != n && controlCut != m)
#define hears(n, m) (onLink(n, m) || onControl(n, m))
#define greater(e, o, f, p) (e > f || (e == f && o > p))
#ifdef NO_LEASE
#define canSpeak(n) (state[n] == OWNER && running[n] && !shut[n])
#else
#define canSpeak(n) (state[n] == OWNER && running[n] && lease[n] && !shut[n])
#endif
/* The two others. */
#define a(n) (n % 3 + 1)
#define b(n) ((n + 1) % 3 + 1)

/* What m declares is a greater claim than the one that n knows of, and not the one that n was told the end of, as the binding is given to it. */
#define outclaims(m, n) (alive(m) && running[m] && hears(n, m) && owner[m] != 0 && owner[m] != n && \
                         !(accepted[n] && epoch[m] == epoch[n]) && \
                         greater(epoch[m], owner[m], epoch[n], owner[n]))
/* m, which owns nothing, knows of a term that is unknown at n. */
#define knowsMore(m, n) (alive(m) && running[m] && hears(n, m) && (owner[m] == 0 || owner[m] == n) && \
                         epoch[m] > highest[n])
#define hasMail(n) greater(mailEpoch[n], mailOwner[n], epoch[n], owner[n])
#define willTell(m, n) (acts(m) && hears(n, m) && hasMail(m))
#define unheard(n) (hasMail(n) || willTell(a(n), n) || willTell(b(n), n) || outclaims(a(n), n) || outclaims(b(n), n) || knowsMore(a(n), n) || knowsMore(b(n), n))

/* n stands by for m, and hears that m stands by for n. */
#define follows(n, m) (owner[n] == m && owner[m] == n && epoch[n] == epoch[m] && acts(m) && hears(n, m))

/* The word of m's hand-over comes to n. */
#define hasWord(n, m) (underway[m] && owner[n] == m && epoch[n] == epoch[m] && onLink(n, m) && state[n] != OWNER)
/* All that has been said to n it has heard, if it runs. */
#define upToDate(n) (!acts(n) || (!unheard(n) && !hasWord(n, a(n)) && !hasWord(n, b(n))))

/* Two of three must be heard: of the other two, one. Beats tell, which the control network carries. */
#ifdef QUORUM
#define beats(n, m) (alive(m) && (running[m] || lease[m]) && (fresh || onControl(n, m)))
#define quorate(n) (beats(n, a(n)) || beats(n, b(n)))
#else
#define quorate(n) true
#endif
#if defined(QUORUM) && !defined(NO_CONSENT)
#define CONSENTS
/* The next term of n. */
#define next(n) ((highest[n] > epoch[n] -> highest[n] : epoch[n]) + 1)
#define mayUse(n) (consented[n] == next(n))
/* m consents to a claim of n, which knows of each claim that m knows of; of two that are about to claim the greater id withdraws. */
#define consents(m, n) (acts(m) && hears(n, m) && state[m] != OWNER && !young[m] && (owner[m] == 0 || owner[m] == n || epoch[m] <= epoch[n]) && (consented[m] == 0 || n < m) && \
                        (consentTo[m] == 0 || consentTo[m] == n))
/* m has claimed, and n does not know of it. */
#define isSecretOwner(m, n) (state[m] == OWNER && lease[m] && greater(epoch[m], m, epoch[n], owner[n]))
#define asks(n) (isClaimer(n) && !mayUse(n) && consentTo[n] == 0 && !young[n])
#else
#define mayUse(n) true
#endif
#if defined(QUORUM) && !defined(DEAF_CLAIM)
/* Whoever is suspected does not count. */
#define mayClaim(n) ((owner[n] != a(n) && beats(n, a(n))) || (owner[n] != b(n) && beats(n, b(n))))
#else
#define mayClaim(n) true
#endif
#ifdef DEAF_OWNER
#define mayOwn(n) true
#else
#define mayOwn(n) quorate(n)
#endif

/* n has no sign of life of m: its process ended or its channel did; or it stopped, long enough; or all ways to it are cut. */
#ifdef NO_LEASE_WAIT
#define suspects(n, m) (state[m] == DOWN || (!onControl(n, m) && !fresh) || !running[m])
#else
#define suspects(n, m) (state[m] == DOWN || (!onControl(n, m) && !fresh) || (!running[m] && !lease[m]))
#endif
/* m may still speak, as far as the passing of time alone can tell. */
#define leaseMayLast(m) (alive(m) && !running[m] && lease[m])
/* Time that a process takes to start has not passed for m, which was stopped, or waits for a fence. */
#define isBetween(m) (leaseMayLast(m) || (acts(m) && state[m] == CLAIMING))
/* While m is like that, n, which knows of no owner and listens, does not claim. */
#define holdsBack(m, n) (alive(m) && lease[m] && (accepted[m] || (hears(n, m) && state[m] > STANDBY)))
/* The word of m's hand-over will still be heard. */
#define isGiving(m) (underway[m] && lease[given[m]] && alive(given[m]) && hasWord(given[m], m))
/* And that of a refusal. */
#define isRefusing(m) (refused[m] != 0 && owner[refused[m]] == 0 && given[refused[m]] == m && \
                       lease[refused[m]] && alive(refused[m]) && onLink(m, refused[m]))

/* A claim that n knows nothing of, as there is a cut between. */
#define secret(n, m) (alive(m) && !hears(n, m) && (state[m] == OWNER || highest[m] > highest[n]))

#ifdef QUORUM
#ifdef SHORT_WAIT
#define isHeardAgain(n, m) false
#else
/* n waits for m, which it took for silent, as long as that may sleep over its quorum, and hears it again. */
#define isHeardAgain(n, m) (m != 0 && state[m] == OWNER && acts(m) && epoch[m] == epoch[n] && onControl(n, m))
#endif
#else
#define isHeardAgain(n, m) false
#endif

#ifdef NO_TURNS
#define hasHeard(n) true
#elif defined(CONSENTS)
#define hasHeard(n) (!unheard(n))
#else
#define hasHeard(n) (!unheard(n) && !(fresh && (secret(n, a(n)) || secret(n, b(n)))))
#endif

/* Nobody owns that n knows of, and it has listened and waited: at boot, behind a lost lease, behind a hand-over that nobody has taken. */
#ifdef CONSENTS
/* A boot, and a turn, take longer than a lease. */
#define someMayWake(n) (leaseMayLast(a(n)) || leaseMayLast(b(n)))
#else
#define someMayWake(n) false
#endif
#define finds(n) (acts(n) && state[n] == STANDBY && owner[n] == 0 && !accepted[n] && hasHeard(n) && mayClaim(n) && !fresh && !someMayWake(n) && \
                  !holdsBack(a(n), n) && !holdsBack(b(n), n) && !isGiving(n) && !isGiving(a(n)) && !isGiving(b(n)) && \
                  !isRefusing(a(n)) && !isRefusing(b(n)) && !isRefusing(n))
#define isClaimer(n) (acts(n) && mayClaim(n) && (state[n] == CLAIMING || state[n] == SILENCED || accepted[n] || finds(n)))

inline check() {
  assert(!(canSpeak(1) && canSpeak(2)) && !(canSpeak(1) && canSpeak(3)) && !(canSpeak(2) && canSpeak(3))); /* never two hands */
  who = 1;
  do
  :: who <= 3 ->
     if
     :: canSpeak(who) ->
        assert(!greater(spokenEpoch, spokenOwner, epoch[who], who)); /* one speaker */
        spokenEpoch = epoch[who];
        spokenOwner = who
     :: else
     fi;
     who++
  :: else -> break
  od;
  who = 0
}

inline dropMail(x) {
  if
  :: !hasMail(x) ->
     mailEpoch[x] = 0;
     mailOwner[x] = 0
  :: else
  fi
}

inline post(x, y) {
  if
  :: alive(x) && hears(x, y) && greater(epoch[y], y, mailEpoch[x], mailOwner[x]) ->
     mailEpoch[x] = epoch[y];
     mailOwner[x] = y
  :: else
  fi
}

inline learn(n, e, o) {
  epoch[n] = e;
  owner[n] = o;
  if
  :: e > highest[n] -> highest[n] = e
  :: else
  fi;
  state[n] = STANDBY;
  accepted[n] = false;
  given[n] = 0;
  underway[n] = false;
  refused[n] = 0;
  consented[n] = 0;
  if
  :: consentTo[n] == o && e >= consentAt[n] -> consentTo[n] = 0
  :: else
  fi;
  /* A peer may have shut it. */
  shut[n] = false;
  dropMail(n)
}

inline claim(n) {
  epoch[n] = (highest[n] > epoch[n] -> highest[n] : epoch[n]) + 1;
  highest[n] = epoch[n];
  assert(epoch[n] <= MAX_TERMS); /* no dispute */
  consented[n] = 0;
  owner[n] = n;
  state[n] = OWNER;
  accepted[n] = false;
  given[n] = 0;
  underway[n] = false;
  refused[n] = 0;
  shut[n] = false;
  dropMail(n);
  post(a(n), n);
  post(b(n), n);
  check()
}

#ifdef CONSENTS
inline consent(n, m) {
  if
  :: highest[m] > highest[n] -> highest[n] = highest[m]
  :: else
  fi;
  consented[n] = next(n);
  assert(consented[n] <= MAX_TERMS); /* no dispute */
  highest[m] = consented[n];
  consentTo[m] = n;
  consentAt[m] = consented[n];
  /* What m was about to claim by others' consent it is not any more. */
  consented[m] = 0
}
#endif

/* n hears too few, and falls silent. */
inline fall(n) {
  if
  :: state[n] == OWNER && !mayOwn(n) ->
     state[n] = STANDBY;
     owner[n] = 0
  :: else
  fi
}

/* What m says comes to n. */
inline hear(n, m) {
  if
  :: outclaims(m, n) -> learn(n, epoch[m], owner[m])
  :: !outclaims(m, n) && knowsMore(m, n) ->
     if
#ifdef CONSENTS
     :: state[n] == OWNER -> /* more than half have consented to another's claim */
        state[n] = STANDBY;
        owner[n] = 0;
        highest[n] = epoch[m]
#else
     :: state[n] == OWNER ->
        epoch[n] = epoch[m] + 1; /* outbids */
        highest[n] = epoch[n];
        assert(epoch[n] <= MAX_TERMS); /* no dispute */
        post(a(n), n);
        post(b(n), n)
#endif
     :: else -> highest[n] = epoch[m]
     fi
  fi;
  check()
}

/* n, which took m for the owner, hears that the binding is given away. */
inline takeWord(n, m) {
  state[n] = STANDBY;
  owner[n] = 0;
  if
  :: given[m] == n -> accepted[n] = true
  :: given[m] == n -> refused[n] = m /* lacks something of a connection */
  :: given[m] != n
  fi
}

proctype node(byte n) {
  byte who;
end:
  do
  :: atomic { acts(n) && (outclaims(a(n), n) || knowsMore(a(n), n)) -> hear(n, a(n)) }
  :: atomic { acts(n) && (outclaims(b(n), n) || knowsMore(b(n), n)) -> hear(n, b(n)) }

  /* Each has claimed in this term, and followed the other. */
  :: atomic { acts(n) && follows(n, a(n)) -> owner[n] = 0; state[n] = STANDBY }
  :: atomic { acts(n) && follows(n, b(n)) -> owner[n] = 0; state[n] = STANDBY }

  :: atomic { acts(n) && hasMail(n) -> learn(n, mailEpoch[n], mailOwner[n]); check() }

  /* Suspicion and fence. */
  :: atomic { acts(n) && state[n] == STANDBY && owner[n] != 0 && owner[n] != n && suspects(n, owner[n]) && !unheard(n) && mayClaim(n) ->
       state[n] = CLAIMING
     }
  :: atomic { acts(n) && state[n] == CLAIMING ->
       if
       :: FENCES != 0 -> shut[owner[n]] = true
       :: FENCES != 1
       fi;
       state[n] = SILENCED;
       check()
     }
#ifdef NO_LEASE_WAIT
  :: atomic { acts(n) && state[n] == CLAIMING && hasHeard(n) -> claim(n) }
#endif
  :: atomic { acts(n) && state[n] == SILENCED && (shut[owner[n]] || (!leaseMayLast(owner[n]) && !isHeardAgain(n, owner[n]))) && hasHeard(n) && mayClaim(n) &&
              mayUse(n) -> claim(n) }
  :: atomic { acts(n) && state[n] == SILENCED && !mayClaim(n) -> state[n] = STANDBY }
  :: atomic { acts(n) && state[n] == OWNER && !fresh && !mayOwn(n) -> fall(n) }
  /* The owner lives after all; behind a fence nobody would hear it. */
  :: atomic { acts(n) && state[n] == SILENCED && !shut[owner[n]] && state[owner[n]] == OWNER && acts(owner[n]) && epoch[owner[n]] == epoch[n] &&
              hears(n, owner[n]) && !suspects(n, owner[n]) -> state[n] = STANDBY }

#ifdef NO_LISTENING
  :: atomic { acts(n) && state[n] == STANDBY && owner[n] == 0 -> claim(n) }
#endif
  :: atomic { finds(n) && mayUse(n) -> claim(n) }

  /* Hand-over. */
  :: atomic { acts(n) && state[n] == OWNER && moves > 0 && !shut[n] ->
       moves--;
       if
       :: given[n] = a(n)
       :: given[n] = b(n)
       fi;
       underway[n] = true;
       owner[n] = 0;
#ifndef EARLY_TRANSFER
       state[n] = STANDBY
#endif
     }
  :: atomic { acts(n) && hasWord(n, a(n)) -> takeWord(n, a(n)) }
  :: atomic { acts(n) && hasWord(n, b(n)) -> takeWord(n, b(n)) }
  :: atomic { acts(n) && owner[n] == 0 && given[n] != 0 && refused[given[n]] == n && onLink(n, given[n]) ->
       refused[given[n]] = 0;
       given[n] = 0;
       underway[n] = false;
       accepted[n] = true
     }
  :: atomic { acts(n) && accepted[n] && hasHeard(n) && mayClaim(n) && mayUse(n) -> claim(n) }

#ifdef CONSENTS
  /* The others say which terms they know of, and one consents to the next. */
  :: atomic { asks(n) && consents(a(n), n) -> consent(n, a(n)) }
  :: atomic { asks(n) && consents(b(n), n) -> consent(n, b(n)) }
  /* Time passes: a consent is old, and what it binds ends when it is of no use any more: the claim has been heard, or was not made. */
  :: atomic { consented[n] != 0 && !isClaimer(n) -> consented[n] = 0 }
  :: atomic { consentTo[n] != 0 && consented[consentTo[n]] == 0 && !fresh && !unheard(n) &&
              !isSecretOwner(consentTo[n], n) -> consentTo[n] = 0 }
  :: atomic { young[n] && !fresh && !unheard(n) && !someMayWake(n) && !isSecretOwner(a(n), n) && !isSecretOwner(b(n), n) ->
       young[n] = false }
#endif
  od
}

/* What happens to the node n. */
proctype fate(byte n) {
  byte who;
end:
  do
  :: atomic { alive(n) && crashes > 0 ->
       crashes--;
       state[n] = DOWN;
       mailEpoch[n] = 0;
       mailOwner[n] = 0;
       running[n] = false;
       lease[n] = false;
       accepted[n] = false;
       given[n] = 0;
       underway[n] = false;
       refused[n] = 0;
       consented[n] = 0
     }
  :: atomic { state[n] == DOWN && !fresh && !isBetween(a(n)) && !isBetween(b(n)) ->
       state[n] = STANDBY;
       running[n] = true;
       lease[n] = true;
       epoch[n] = highest[n];
#ifdef CONSENTS
       young[n] = true;
#endif
       owner[n] = 0;
       shut[n] = false;
       check()
     }
  :: atomic { alive(n) && running[n] && stops > 0 ->
       stops--;
       running[n] = false
     }
  :: atomic { alive(n) && !running[n] && lease[n] && upToDate(a(n)) && upToDate(b(n)) -> lease[n] = false }
  :: atomic { alive(n) && !running[n] ->
       running[n] = true;
       if
       :: !fresh -> fall(n)
       :: else
       fi;
       check()
     }
  /* It finds out: until then it may not speak, and does nothing else. */
  :: atomic { alive(n) && running[n] && !lease[n] ->
       lease[n] = true;
       accepted[n] = false;
       consented[n] = 0;
       if
       :: state[n] == OWNER -> owner[n] = 0
       :: else
       fi;
       state[n] = STANDBY
     }
  :: atomic { underway[n] && losses > 0 ->
       losses--;
       underway[n] = false
     }
  od
}

inline begin() {
#ifdef QUORUM
  fresh = true
#else
  skip
#endif
}

proctype networks() {
  byte who;
end:
  do
  :: atomic { linkCuts > 0 && linkCut == 0 && controlCut == 0 -> linkCuts--; select(who : 1 .. 3); linkCut = who; who = 0 }
  :: atomic { controlCuts > 0 && linkCut == 0 && controlCut == 0 -> controlCuts--; select(who : 1 .. 3); controlCut = who; who = 0; begin() }
  :: atomic { bothCuts > 0 && linkCut == 0 && controlCut == 0 ->
       bothCuts--;
       select(who : 1 .. 3);
       linkCut = who;
       controlCut = who;
       who = 0;
       begin()
     }
#ifdef QUORUM
  /* A lease passes. */
  :: atomic { fresh ->
       fresh = false;
#ifndef LATE_FALL
       for (who : 1 .. 3) {
         if
         :: running[who] -> fall(who)
         :: else
         fi
       }
       who = 0
#endif
     }
#endif
  :: atomic { linkCut != 0 || controlCut != 0 -> linkCut = 0; controlCut = 0; fresh = false; check() }
  /* Nothing else can happen. */
  :: atomic { timeout ->
       assert(canSpeak(1) || canSpeak(2) || canSpeak(3)); /* somebody owns */
       assert(owner[1] == owner[2] && owner[2] == owner[3]);
       assert(epoch[1] == epoch[2] && epoch[2] == epoch[3]);
       break
     }
  od
}

init {
  byte n;
  byte who;
  atomic {
    for (n : 1 .. 3) {
      state[n] = STANDBY;
      running[n] = true;
      lease[n] = true;
      epoch[n] = 1;
      highest[n] = 1;
      owner[n] = 1
    }
    state[1] = OWNER;
    check();
    n = 0;
    run node(1);
    run node(2);
    run node(3);
    run fate(1);
    run fate(2);
    run fate(3);
    run networks()
  }
}
