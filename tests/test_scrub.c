/* capture/scrub: what is a secret, and what only looks like one. */
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "capture/scrub.h"

#define LONG "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX"

static const struct {
	const char *name, *in, *secret;	/* secret: what must be gone; NULL: the text stays */
} cases[] = {
	{ "password assigned", "db password=hunter2 ok", "hunter2" },
	{ "password in JSON", "{\"password\": \"hunter2\", \"n\": 1}", "hunter2" },
	{ "password option", "python t.py --db-password hunter2 --lr 1", "hunter2" },
	{ "password option with NULs as spaces", "--password=hunter2", "hunter2" },
	{ "export of a key", "export WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567", "0123456789abcdef0123456789abcdef01234567" },
	{ "AWS secret", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzzz", "wJalrXUtnFEMI" },
	{ "AWS key id", "key AKIAIOSFODNN7ABCDEFG here", "AKIAIOSFODNN7ABCDEFG" },
	{ "GitHub token", "cloning with ghp_" LONG, LONG },
	{ "Hugging Face token", "login hf_" LONG " done", LONG },
	{ "OpenAI key", "sk-proj-" LONG, LONG },
	{ "Slack token", "xoxb-123456789012-" LONG, LONG },
	{ "bearer header", "Authorization: Bearer " LONG, LONG },
	{ "bearer alone", "sent bearer " LONG " to x", LONG },
	{ "JWT", "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcDEF123456", "eyJzdWIiOiIxMjM0NTY3ODkwIn0" },
	{ "password in a URL", "GET https://bob:s3cr3tpw@example.org/x", "s3cr3tpw" },
	{ "token assigned", "token=" LONG, LONG },
	{ "private key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\nDEF==\n-----END RSA PRIVATE KEY-----\nnext", "MIIEabc" },
	{ "a secret printed again alone", "token=" LONG "\nretry with " LONG "!", LONG },
	{ "git hash", "commit 3f786850e387550fdab836ed7e6dc881de23001b", NULL },
	{ "uuid", "GPU-5a3b1c2d-1111-2222-3333-444455556666: ok", NULL },
	{ "NCCL commId", "comm 0x55d rank 3 nranks 16 commId 0x9f8e7d6c5b4a3210 - Init COMPLETE", NULL },
	{ "token counts", "num_tokens=8192 tokens/s: 406102 eos_token_id=2", NULL },
	{ "token names", "pad_token=<|endoftext|> bos_token: '<s>'", NULL },
	{ "plain URL", "http://10.0.0.1:29500/store", NULL },
	{ "IPv6 URL", "tcp://[::1]:29500", NULL },
	{ "step line", "[rank3]: 2026-03-14 02:13:20,000 INFO step=118001 loss: 2.91 lr=2.9e-04", NULL },
	{ "layer names", "model.layers.0.self_attn.q_proj.weight: torch.Size([4096, 4096])", NULL },
	{ "certificate", "-----BEGIN CERTIFICATE-----\nMIIEabc\n-----END CERTIFICATE-----", NULL },
	{ "ask-for", "ask-for-help-with-the-launcher-now-123", NULL },
};

static void test_secrets_are_masked_at_equal_length(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].in), masked;
		_cleanup_free_ char *text = malloc(len + 1), *exact = malloc(len);

		print_message("    %s\n", cases[i].name);
		memcpy(exact, cases[i].in, len);	/* of its exact size: a byte too far is seen */
		masked = scrub_text(exact, len);
		memcpy(text, exact, len);
		text[len] = '\0';
		if (!cases[i].secret) {
			assert_int_equal(masked, 0);
			assert_string_equal(text, cases[i].in);
			continue;
		}
		assert_true(masked > 0);
		assert_null(strstr(text, cases[i].secret));
		for (size_t k = 0; k < len; k++)
			assert_true(text[k] == cases[i].in[k] || text[k] == '*');
	}
}

static void test_every_cut_is_bounded(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t len = 0; len <= strlen(cases[i].in); len++) {
			_cleanup_free_ char *exact = malloc(len ? len : 1);

			memcpy(exact, cases[i].in, len);
			scrub_text(exact, len);
		}
}

static void test_environment_by_allow_list(void **state)
{
	static const struct {
		const char *name;
		bool allowed;
	} names[] = {
		{ "RANK", true }, { "NCCL_DEBUG", true }, { "SLURM_JOB_ID", true }, { "TORCH_NCCL_DUMP_ON_TIMEOUT", true },
		{ "RANKS", false }, { "NCCL_", false }, { "AWS_SECRET_ACCESS_KEY", false }, { "NCCL_AUTH_TOKEN", false },
		{ "SLURM_JWT", false }, { "PATH", false }, { "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		print_message("    %s\n", names[i].name);
		assert_int_equal(scrub_env_allowed(names[i].name, strlen(names[i].name)), names[i].allowed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_secrets_are_masked_at_equal_length),
		cmocka_unit_test(test_every_cut_is_bounded),
		cmocka_unit_test(test_environment_by_allow_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
