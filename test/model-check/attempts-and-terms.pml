/*
 * The rules of attempts and terms, for one VM, two managers over one store, and two hosts: every order of events within
 * the bounds below is tried. README.md maps each rule to the code that keeps it.
 *
 * How time and faults are in it without a clock or a counter:
 *  - A manager or host that does nothing for a while is one that hangs, is paused, or is cut off.
 *  - `ordered` only ever grows: a command that was sent may arrive at any time later, any number of times, in any order,
 *    or never; as a start or as a void. The same holds for `word`, what hosts said.
 *  - A transaction in hand may be carried out, refused, or left: then it may still be carried out much later.
 *
 * -D<RULE> drops a rule; -DSHOW=<n> asks for a way to a good state; -DNO_SHORTCUTS leaves out what only makes
 * fewer states. Assertions are named after invariants.
 */
#ifndef ATTEMPTS
#define ATTEMPTS 3 /* 1 to 3 */
#endif
#ifndef TERMS
#define TERMS 3 /* 2 to 4 */
#endif
#define MANAGERS 2
#define HOSTS 2
#define NOWHERE 2

/* ---- The store: one term, one record. ---- */
byte storeTerm;
bit storeAccepted;
byte storeAttempt;
byte storePlace = NOWHERE;

/* ---- Managers: volatile, a crash forgets all of it. ---- */
byte term[MANAGERS];     /* 0: does not lead, or has found out that it does not */
byte nextTerm[MANAGERS]; /* the one after that which it read; 0: it does not want to lead */
bit accepted[MANAGERS];  /* the working set: a copy of the record */
byte attempt[MANAGERS];
byte place[MANAGERS] = NOWHERE;

/* ---- Transactions: in the hand of a manager that waits for the outcome, and one that nobody waits for. ---- */
#define NONE 0
#define ACCEPT 1
#define PLACE 2
#define REQUEUE 3
#define LATE MANAGERS
byte txnKind[3];
byte txnTerm[3];
byte txnAttempt[3];
byte txnPlace[3];

/* ---- Hosts: the journal outlives a crash. ---- */
#define UNKNOWN 0
#define STARTING 1
#define RUNNING 2
#define VOID 3
#define ENDED 4
byte obeyed[HOSTS];      /* journal: the highest term obeyed */
byte knownAttempt[HOSTS];
byte knownState[HOSTS];
byte voidedAttempt[HOSTS]; /* a later attempt that was voided while an earlier one lives here */
byte unnoted[HOSTS];     /* volatile, ACT_BEFORE_JOURNAL: started, to be journaled next */

/* ---- Hypervisors: a call outlives the host manager that made it. ---- */
byte pending[HOSTS];
byte domain[HOSTS];      /* the truth: the attempt that runs there */

/* ---- The network. ---- */
short ordered[HOSTS];    /* bit: an order for an attempt was sent in a term */
byte word[HOSTS];        /* bit: the host said that the attempt is void or ended: it does not run, and never will */

/* ---- Ghosts: what the claims speak of; nobody decides by them. ---- */
bit told;                /* the user heard: accepted */
byte obeyedEver[HOSTS];
bit L1_two_leaders_in_a_term;
bit L2_a_deposed_leader_changed_the_record;
bit L3_an_accepted_request_is_forgotten;
bit H1_a_host_obeyed_a_lower_term;
bit H5_an_attempt_started_that_was_over;
bit P1_the_VM_runs_in_two_places;

#define ORDER_BIT(a, t) (1 << (((a) - 1) * TERMS + (t) - 1))
#define WORD_BIT(a) (1 << (a))
#define said(h, a) ((word[h] & WORD_BIT(a)) != 0)

#define claim \
  assert(!L1_two_leaders_in_a_term); \
  assert(!L2_a_deposed_leader_changed_the_record); \
  assert(!L3_an_accepted_request_is_forgotten); \
  assert(!H1_a_host_obeyed_a_lower_term); \
  assert(!H5_an_attempt_started_that_was_over); \
  assert(!P1_the_VM_runs_in_two_places)

/* ======================================== Guards ======================================== */

#ifdef NO_TERM_GUARD
#define isGuardedTerm(x) true
#else
#define isGuardedTerm(x) (txnTerm[x] == storeTerm)
#endif

/* Nothing was stored since this transaction was made. Attempts only grow, so the record itself tells. */
#ifdef NO_COMMIT_GUARD
#define isUnchanged(x) true
#else
#define isUnchanged(x) ( \
  (txnKind[x] == ACCEPT && !storeAccepted) || \
  (txnKind[x] == PLACE && storeAccepted && storePlace == NOWHERE && storeAttempt + 1 == txnAttempt[x]) || \
  (txnKind[x] == REQUEUE && storePlace == txnPlace[x] && storeAttempt == txnAttempt[x]))
#endif

/* ======================================== Managers ======================================== */

/* Whatever is in its place is ordered, again and again, as long as it leads or believes so. */
inline order(m, h, a) {
  ordered[h] = ordered[h] | ORDER_BIT(a, term[m])
}

inline readRecord(m) {
  accepted[m] = storeAccepted;
  attempt[m] = storeAttempt;
  place[m] = storePlace;
  if
  :: place[m] != NOWHERE -> order(m, place[m], attempt[m])
  :: else
  fi
}

/* Compare-and-set of the term; then the record is read anew, whatever was known before. */
inline takeLead(m) {
#ifndef NO_TERM_CAS
  if
  :: storeTerm + 1 == nextTerm[m] ->
#endif
    storeTerm = nextTerm[m];
    term[m] = storeTerm;
    printf("manager %d leads in term %d\n", m, storeTerm);
    L1_two_leaders_in_a_term = (term[0] == term[1]);
    L3_an_accepted_request_is_forgotten = (told && !storeAccepted);
    readRecord(m);
#ifndef NO_TERM_CAS
  :: else
  fi;
#endif
  nextTerm[m] = 0
}

inline submit(m, kind, a, h) {
  if
  :: kind == ACCEPT -> printf("manager %d, term %d: to be stored: accepted\n", m, term[m])
  :: kind == PLACE -> printf("manager %d, term %d: to be stored: attempt %d on host %d\n", m, term[m], a, h)
  :: kind == REQUEUE -> printf("manager %d, term %d: to be stored: attempt %d on host %d is over\n", m, term[m], a, h)
  fi;
  txnKind[m] = kind;
  txnTerm[m] = term[m];
  txnAttempt[m] = a;
  txnPlace[m] = h;
#ifdef SEND_BEFORE_STORE
  if
  :: kind == PLACE -> order(m, h, a)
  :: else
  fi
#endif
}

inline forgetTxn(x) {
  txnKind[x] = NONE;
  txnTerm[x] = 0;
  txnAttempt[x] = 0;
  txnPlace[x] = 0
}

/* Nobody waits for it any more, and it may still be carried out. One such at a time: another one counts as lost. */
inline leaveTxn(m) {
  if
  :: txnKind[m] != NONE ->
    txnKind[LATE] = txnKind[m];
    txnTerm[LATE] = txnTerm[m];
    txnAttempt[LATE] = txnAttempt[m];
    txnPlace[LATE] = txnPlace[m];
    forgetTxn(m)
  :: else
  fi
}

/* A guard that fails once fails for ever, because terms and attempts only grow: such a transaction may as well be lost. */
inline forgetRefused() {
#if !defined(NO_TERM_GUARD) && !defined(NO_COMMIT_GUARD) && !defined(NO_SHORTCUTS)
  if
  :: txnKind[LATE] != NONE && !(isGuardedTerm(LATE) && isUnchanged(LATE)) -> forgetTxn(LATE)
  :: else
  fi
#else
  skip
#endif
}

inline standBy(m) {
  term[m] = 0;
  accepted[m] = 0;
  attempt[m] = 0;
  place[m] = NOWHERE
}

inline crashManager(m) {
  printf("manager %d crashes\n", m);
  leaveTxn(m);
  term[m] = 0;
  nextTerm[m] = 0;
  accepted[m] = 0;
  attempt[m] = 0;
  place[m] = NOWHERE
}

/* A word ends the attempt that it names, in the place that the record names. */
#ifdef OTHER_ATTEMPTS_WORD
#define isOver(m) (word[place[m]] != 0)
#else
#define isOver(m) said(place[m], attempt[m])
#endif

#define leads(m) (term[m] != 0 && txnKind[m] == NONE)

/* Managers are alike and hosts are alike: the first of each that comes to something may as well be number 0. */
#ifdef NO_SHORTCUTS
#define IS_FIRST(count, number) true
#define isAnswered true
#else
#define IS_FIRST(count, number) ((count) > 0 || (number) == 0)
/* Nobody but L3 asks whether the user was told: the answer goes out before the VM is placed, or is lost with its leader. */
#define isAnswered told
#endif
#define mayPlace(m, h) \
  (leads(m) && isAnswered && accepted[m] && place[m] == NOWHERE && attempt[m] < ATTEMPTS && IS_FIRST(attempt[m], h))

proctype Manager(byte me) {
  do
  :: d_step { term[me] == 0 && nextTerm[me] == 0 && storeTerm < TERMS && IS_FIRST(storeTerm, me) ->
      nextTerm[me] = storeTerm + 1 }
  :: d_step { nextTerm[me] != 0 && nextTerm[me] <= TERMS -> takeLead(me); forgetRefused(); claim }

  :: d_step { leads(me) && !accepted[me] -> submit(me, ACCEPT, 0, NOWHERE) }
#ifdef ANSWER_BEFORE_STORE
  :: d_step { txnKind[me] == ACCEPT && !told -> told = 1; printf("manager %d answers: accepted\n", me) }
#endif
  :: d_step { leads(me) && accepted[me] && !told -> told = 1; printf("manager %d answers: accepted\n", me) }

  :: d_step { mayPlace(me, 0) -> submit(me, PLACE, attempt[me] + 1, 0) }
  :: d_step { mayPlace(me, 1) -> submit(me, PLACE, attempt[me] + 1, 1) }
  :: d_step { leads(me) && place[me] != NOWHERE && isOver(me) -> submit(me, REQUEUE, attempt[me], place[me]) }
#ifdef RESTART_ON_SILENCE
  :: d_step { leads(me) && place[me] != NOWHERE -> submit(me, REQUEUE, attempt[me], place[me]) }
#endif

  /* The outcome is unknown: the working set is thrown away and read again, in the same term. */
  :: d_step { term[me] != 0 && txnKind[me] != NONE && term[me] == storeTerm ->
      printf("manager %d: the outcome is unknown, the record is read again\n", me);
      leaveTxn(me); forgetRefused(); readRecord(me) }
  :: d_step { term[me] != 0 -> crashManager(me); forgetRefused() }
  od
}

/* ======================================== Store ======================================== */

inline write(x) {
  printf("store, term %d: takes what was sent in term %d\n", storeTerm, txnTerm[x]);
  L2_a_deposed_leader_changed_the_record = (txnTerm[x] != storeTerm);
  if
  :: txnKind[x] == ACCEPT -> storeAccepted = 1
  :: txnKind[x] == PLACE -> storeAttempt = txnAttempt[x]; storePlace = txnPlace[x]
  :: txnKind[x] == REQUEUE -> storeAttempt = txnAttempt[x]; storePlace = NOWHERE
  fi
}

/* The manager that waits hears the outcome: it goes on with what it wrote, or steps down at once. */
inline carryOut(m) {
  if
  :: isGuardedTerm(m) && isUnchanged(m) ->
    write(m);
    if
    :: txnKind[m] == ACCEPT -> accepted[m] = 1
    :: txnKind[m] == PLACE -> attempt[m] = txnAttempt[m]; place[m] = txnPlace[m]; order(m, place[m], attempt[m])
    :: txnKind[m] == REQUEUE -> place[m] = NOWHERE
    fi
  :: else -> printf("store: refuses what manager %d sent\n", m); standBy(m)
  fi;
  forgetTxn(m)
}

inline carryOutLate() {
  if
  :: isGuardedTerm(LATE) && isUnchanged(LATE) -> write(LATE)
  :: else
  fi;
  forgetTxn(LATE)
}

proctype Store() {
  do
  :: d_step { txnKind[0] != NONE -> carryOut(0); forgetRefused(); claim }
  :: d_step { txnKind[1] != NONE -> carryOut(1); forgetRefused(); claim }
  :: d_step { txnKind[LATE] != NONE -> carryOutLate(); claim }
  od
}

/* ======================================== Hosts ======================================== */

#ifdef NO_FENCE
#define isFenced(h, t) false
#else
#define isFenced(h, t) ((t) < obeyed[h])
#endif

/* Orders that the fence refuses for ever have no effect: to forget them makes fewer states and changes no run. */
#if defined(NO_FENCE) || defined(FENCE_NOT_STORED) || defined(NO_SHORTCUTS)
#define FORGET_FENCED(h, t) skip
#else
#define BELOW(a, t) (((1 << ((t) - 1)) - 1) << (((a) - 1) * TERMS))
#define FORGET_FENCED(h, t) ordered[h] = ordered[h] & ~(BELOW(1, t) | BELOW(2, t) | BELOW(3, t))
#endif

#define isLive(h) (knownState[h] == STARTING || knownState[h] == RUNNING)

inline obey(h, t) {
  printf("host %d obeys term %d\n", h, t);
  H1_a_host_obeyed_a_lower_term = ((t) < obeyedEver[h]);
  if
  :: (t) > obeyedEver[h] -> obeyedEver[h] = t
  :: else
  fi;
  if
  :: (t) > obeyed[h] ->
    obeyed[h] = t;
    FORGET_FENCED(h, t)
  :: else
  fi
}

inline say(h, a) {
  printf("host %d says: attempt %d is over\n", h, a);
  word[h] = word[h] | WORD_BIT(a)
}

inline journal(h, a, state) {
  if
  :: state == STARTING -> printf("host %d journals: attempt %d is to start\n", h, a)
  :: state == VOID -> printf("host %d journals: attempt %d never starts\n", h, a)
  :: else
  fi;
  knownAttempt[h] = a;
  knownState[h] = state;
  voidedAttempt[h] = 0
}

/* The attempt is newer than all that is known, and nothing lives here. */
#define isNew(h, a) ((a) > knownAttempt[h] && (a) > voidedAttempt[h] && !isLive(h))
#ifdef OLD_ATTEMPT_STARTS
#define isPast(h, a) false
#define isStartable(h, a) (isNew(h, a) || ((a) < knownAttempt[h] && !isLive(h)))
#else
#define isPast(h, a) ((a) < knownAttempt[h] || ((a) <= voidedAttempt[h] && (a) != knownAttempt[h]))
#define isStartable(h, a) isNew(h, a)
#endif

inline hearStart(h, a, t) {
  if
  :: isFenced(h, t)
  :: else ->
    obey(h, t);
    if
    :: isStartable(h, a) ->
#ifdef ACT_BEFORE_JOURNAL
      pending[h] = a;
      unnoted[h] = a
#else
      journal(h, a, STARTING)
#endif
    :: !isStartable(h, a) && (a) == knownAttempt[h] ->
      if
      :: knownState[h] == VOID -> say(h, a)
#ifdef START_ENDED_AGAIN
      :: knownState[h] == ENDED -> journal(h, a, STARTING)
#else
      :: knownState[h] == ENDED -> say(h, a)
#endif
      :: isLive(h)
      fi
    :: isPast(h, a) -> say(h, a)
    :: else /* an earlier attempt lives here: refused, and nothing is promised */
    fi
  fi
}

/* No room, or the hypervisor is away: the host has the last word, and it is a promise. */
inline turnDown(h, a, t) {
  if
  :: isFenced(h, t)
  :: else ->
    obey(h, t);
    if
    :: isNew(h, a) ->
#ifndef TURN_DOWN_NOT_STORED
      journal(h, a, VOID);
#endif
      say(h, a)
    :: else
    fi
  fi
}

inline hearVoid(h, a, t) {
  if
  :: isFenced(h, t)
  :: else ->
    obey(h, t);
    if
    :: isNew(h, a) ->
#ifndef NO_VOID_TOMBSTONE
      journal(h, a, VOID);
#endif
      say(h, a)
    :: (a) == knownAttempt[h] ->
      if
      :: knownState[h] == VOID -> say(h, a)
      :: knownState[h] == ENDED -> say(h, a)
      :: isLive(h) /* it started: the truth is told, and ends nothing */
      fi
    :: (a) > knownAttempt[h] && isLive(h) -> voidedAttempt[h] = a; say(h, a)
    :: else -> say(h, a)
    fi
  fi
}

/* The successor says its term to the hosts before anything else. */
inline hearHello(h) {
  obey(h, storeTerm)
}

/* The host manager ends at any point and starts again: what is not in the journal is gone. */
inline crashHost(h) {
  printf("host manager %d crashes\n", h);
  unnoted[h] = 0;
#ifdef FENCE_NOT_STORED
  obeyed[h] = 0;
#endif
#ifdef TOMBSTONE_NOT_STORED
  if
  :: knownState[h] == VOID -> journal(h, 0, UNKNOWN)
  :: else
  fi
#endif
}

/* The machine loses its power, or the guest ends: what was being started is not taken up again. */
inline losePower(h) {
  printf("host %d loses its power\n", h);
  domain[h] = 0;
  pending[h] = 0;
  crashHost(h);
  if
  :: isLive(h) -> knownState[h] = ENDED; say(h, knownAttempt[h])
  :: else
  fi
}

#define ON_ORDER(h, a, t) \
  :: d_step { (ordered[h] & ORDER_BIT(a, t)) != 0 -> hearStart(h, a, t); claim } \
  :: d_step { (ordered[h] & ORDER_BIT(a, t)) != 0 && isNew(h, a) -> turnDown(h, a, t); claim } \
  :: d_step { (ordered[h] & ORDER_BIT(a, t)) != 0 -> hearVoid(h, a, t); claim }
#define IN_TERM_3(h, a)
#define IN_TERM_4(h, a)
#if TERMS > 2
#undef IN_TERM_3
#define IN_TERM_3(h, a) ON_ORDER(h, a, 3)
#endif
#if TERMS > 3
#undef IN_TERM_4
#define IN_TERM_4(h, a) ON_ORDER(h, a, 4)
#endif
#define IN_EACH_TERM(h, a) ON_ORDER(h, a, 1) ON_ORDER(h, a, 2) IN_TERM_3(h, a) IN_TERM_4(h, a)

/* With all rules kept a host manager has nothing that is not in its journal: to crash changes nothing. */
#ifdef FENCE_NOT_STORED
#define CRASH_LOSES(h) (obeyed[h] != 0)
#elif defined(TOMBSTONE_NOT_STORED)
#define CRASH_LOSES(h) (knownState[h] == VOID)
#elif defined(ACT_BEFORE_JOURNAL)
#define CRASH_LOSES(h) (unnoted[h] != 0)
#endif

proctype Host(byte h) {
  do
  IN_EACH_TERM(h, 1)
  IN_EACH_TERM(h, 2)
  IN_EACH_TERM(h, 3)
  :: d_step { obeyed[h] < storeTerm -> hearHello(h); claim }
  /* What the journal asks for is done; after a crash in between, again. */
  :: d_step { knownState[h] == STARTING && domain[h] == 0 && pending[h] == 0 ->
      pending[h] = knownAttempt[h]; printf("host %d asks its hypervisor for attempt %d\n", h, knownAttempt[h]) }
  :: d_step { knownState[h] == STARTING && domain[h] == knownAttempt[h] -> knownState[h] = RUNNING }
#ifdef ACT_BEFORE_JOURNAL
  :: d_step { unnoted[h] != 0 -> journal(h, unnoted[h], STARTING); unnoted[h] = 0 }
#endif
#ifdef CRASH_LOSES
  :: d_step { CRASH_LOSES(h) -> crashHost(h) }
#endif
  :: d_step { domain[h] != 0 || pending[h] != 0 || isLive(h) -> losePower(h) }
  od
}

/* ======================================== Hypervisors ======================================== */

inline startDomain(h) {
  printf("hypervisor %d: attempt %d runs\n", h, pending[h]);
  H5_an_attempt_started_that_was_over = said(h, pending[h]);
  domain[h] = pending[h];
  pending[h] = 0;
  P1_the_VM_runs_in_two_places = (domain[0] != 0 && domain[1] != 0)
}

proctype Hypervisor(byte h) {
  do
  :: d_step { pending[h] != 0 && domain[h] == 0 -> startDomain(h); claim }
  :: d_step { pending[h] != 0 && domain[h] != 0 -> pending[h] = 0 }
  od
}

/* ======================================== Is anything done at all? ======================================== */

#if SHOW == 1
#define SHOWN (domain[0] == 1 && told)
#elif SHOW == 2
#define SHOWN (domain[1] == 3 && said(0, 1) && said(0, 2))
#elif SHOW == 3
#define SHOWN (domain[0] != 0 && storePlace == 0 && term[0] == 3 && obeyed[0] == 3 && obeyed[1] == 3)
#elif SHOW == 4
#define SHOWN (term[0] != 0 && term[1] != 0 && term[0] != term[1] && txnKind[0] != NONE && txnKind[1] != NONE)
#endif

#ifdef SHOW
proctype Watch() {
  d_step { SHOWN -> assert(false) }
}
#endif

init {
  atomic {
    run Manager(0);
    run Manager(1);
    run Store();
    run Host(0);
    run Host(1);
    run Hypervisor(0);
    run Hypervisor(1);
#ifdef SHOW
    run Watch();
#endif
  }
}
