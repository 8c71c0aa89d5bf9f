import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Gather } from '../../../connectors/relational/gather.ts';

interface Answer {
  readonly of: string;
}

interface Go {
  readonly questions: readonly string[];
  readonly signal: AbortSignal;
  readonly end: PromiseWithResolvers<void>;
}

const never = (): AbortSignal => new AbortController().signal;

/** Goes that end when the test says so; a question that begins with `!` is answered by an error. */
function gathering(most = 64) {
  const goes: Go[] = [];
  const begun: (() => void)[] = [];
  const gather = new Gather<string, Answer>(most, async (questions, signal) => {
    const go = { questions, signal, end: Promise.withResolvers<void>() };
    goes.push(go);
    begun.shift()?.();
    await go.end.promise;
    return questions.map((question) => (question.startsWith('!') ? new TidemarkError('COPY_VOID', question) : { of: question }));
  });
  const nextGo = (): Promise<void> => new Promise((resolve) => begun.push(resolve));
  return { gather, goes, nextGo };
}

describe('questions that are gathered', () => {
  it('go together when they come in one breath, and those that come meanwhile in the next go', async () => {
    const { gather, goes, nextGo } = gathering();
    const first = nextGo();
    const answers = ['a', 'b'].map((question) => gather.ask(question, never()));
    await first;
    const second = nextGo();
    answers.push(...['c', 'd'].map((question) => gather.ask(question, never())));
    goes[0]?.end.resolve();
    await second;
    goes[1]?.end.resolve();
    expect(await Promise.all(answers)).toEqual(['a', 'b', 'c', 'd'].map((of) => ({ of })));
    expect(goes.map(({ questions }) => questions)).toEqual([['a', 'b'], ['c', 'd']]);
  });

  it('are not more in one go than it takes', async () => {
    const { gather, goes, nextGo } = gathering(2);
    const first = nextGo();
    const asked = Promise.all(['a', 'b', 'c'].map((question) => gather.ask(question, never())));
    await first;
    const second = nextGo();
    goes[0]?.end.resolve();
    await second;
    goes[1]?.end.resolve();
    await asked;
    expect(goes.map(({ questions }) => questions)).toEqual([['a', 'b'], ['c']]);
  });

  it('fail each by itself where the answer is an error, and all where the go fails; the next go is another', async () => {
    const { gather, goes, nextGo } = gathering();
    const first = nextGo();
    const [good, bad] = [gather.ask('good', never()), gather.ask('!bad', never())];
    await first;
    goes[0]?.end.resolve();
    await expect(bad).rejects.toMatchObject({ code: 'COPY_VOID' });
    expect(await good).toEqual({ of: 'good' });

    const second = nextGo();
    const lost = Promise.allSettled(['a', 'b'].map((question) => gather.ask(question, never())));
    await second;
    goes[1]?.end.reject(new TidemarkError('POSTGRES_UNREACHABLE', 'gone'));
    expect(await lost).toEqual([1, 2].map(() => ({ status: 'rejected', reason: expect.objectContaining({ code: 'POSTGRES_UNREACHABLE' }) as Error })));

    const third = nextGo();
    const again = gather.ask('again', never());
    await third;
    goes[2]?.end.resolve();
    expect(await again).toEqual({ of: 'again' });
  });

  it('say at once that one was given up; the go ends only when all who take part have given up', async () => {
    const { gather, goes, nextGo } = gathering();
    const [one, two] = [new AbortController(), new AbortController()];
    const first = nextGo();
    const answers = [gather.ask('a', one.signal), gather.ask('b', two.signal)];
    await first;
    one.abort();
    await expect(answers[0]).rejects.toMatchObject({ code: 'ABORTED' });
    expect(goes[0]?.signal.aborted).toBe(false);
    two.abort();
    await expect(answers[1]).rejects.toMatchObject({ code: 'ABORTED' });
    expect(goes[0]?.signal.aborted).toBe(true);
    goes[0]?.end.reject(new Error('cut'));
  });

  it('are not asked at all when they were given up before their go', async () => {
    const { gather, goes, nextGo } = gathering();
    const waiting = new AbortController();
    const first = nextGo();
    const a = gather.ask('a', never());
    await first;
    const b = gather.ask('b', waiting.signal);
    const c = gather.ask('c', AbortSignal.abort());
    waiting.abort();
    await expect(b).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(c).rejects.toMatchObject({ code: 'ABORTED' });
    const second = nextGo();
    const d = gather.ask('d', never());
    goes[0]?.end.resolve();
    await a;
    await second;
    goes[1]?.end.resolve();
    await d;
    expect(goes.map(({ questions }) => questions)).toEqual([['a'], ['d']]);
  });
});
