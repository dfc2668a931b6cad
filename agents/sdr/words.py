"""What to look for in a lead's own words, in the languages of the leads. Plain data."""

FREE_MAIL = frozenset(
    {
        "gmail.com",
        "googlemail.com",
        "yahoo.com",
        "yahoo.co.jp",
        "outlook.com",
        "hotmail.com",
        "live.com",
        "icloud.com",
        "me.com",
        "aol.com",
        "proton.me",
        "protonmail.com",
        "gmx.de",
        "gmx.net",
        "web.de",
        "t-online.de",
        "freenet.de",
        "orange.fr",
        "wanadoo.fr",
        "laposte.net",
        "free.fr",
        "libero.it",
        "mail.ru",
        "yandex.ru",
        "qq.com",
        "163.com",
        "zoho.com",
        "fastmail.com",
        "mail.com",
    }
)

# The first line with a word of the title wins: an assistant to the CEO is no CEO, and a product owner owns no company.
TITLES: tuple[tuple[str, str], ...] = (
    ("specialist", r"assistan\w*|assistenz|intern|trainee|student\w*|praktikant\w*|stagiaire|becari[oa]|account executive"),
    ("manager", r"product owner|product manager|project manager|produktmanager\w*"),
    (
        "executive",
        r"c[etfoims]o|chief|(co-?)?founder|owner|managing director|general manager|geschäftsführer\w*|vorstand|gründer\w*|inhaber\w*"
        r"|directeur général|directrice générale|pdg|fondat\w+|director[a]? general|presidente|fundador[a]?|代表取締役|社長",
    ),
    ("vice-president", r"[se]?vp|vice[ -]president|vice-président\w*|bereichsleit\w*"),
    ("director", r"director[a]?|head of|head|leit(er|erin|ung)|abteilungsleit\w*|directeur|directrice|部長"),
    ("manager", r"manager\w*|(team ?)?lead|teamleit\w*|responsable|chef\w* de|gerente|jefe|jefa|supervisor|課長"),
    (
        "specialist",
        r"engineer|developer|analyst|consultant|specialist|coordinator|administrator|architect|entwickler\w*|ingénieure?|writer",
    ),
)

SIGNALS: tuple[tuple[str, str], ...] = (
    ("budget", r"budget\w*|presupuesto|予算|[€$£¥] ?\d[\d.,]*|\d[\d.,]* ?(eur|usd|euros?|dollars?)"),
    (
        "deadline",
        r"(by|before|in|bis|avant|antes de) (q[1-4]|end of|ende|la fin|fin de|january|february|march|april|june|july|august|september"
        r"|october|november|december)|q[1-4]|deadline|go[- ]live|this (quarter|month|year)"
        r"|next (month|quarter)|within \w+ (weeks|months)|urgent\w*"
        r"|asap|dringend|来月|年内",
    ),
    (
        "problem",
        r"needs?|struggl\w+|replac\w+|manual(ly)?|too slow|problems?|pain\w*|brauchen|benötigen|ersetzen|ablösen|besoin|remplacer"
        r"|necesitamos|reemplazar|課題|困って\w*",
    ),
    ("evaluation", r"evaluat\w+|compar\w+|shortlist\w*|proof of concept|poc|pilot\w*|trial|rfp|vergleich\w*|évalu\w+|検討\w*"),
    (
        "scale",
        r"\d[\d.,]* ?(users?|seats?|employees|people|sites?|stores?|trucks|vehicles|leads|orders|calls|nutzer|mitarbeiter\w*|standorte\w*"
        r"|utilisateurs|usuarios|empleados)|\d+(名|人|拠点)",
    ),
    (
        "asks-to-talk",
        r"demo|demonstration|schedule|meeting|talk to|speak (to|with)|call (me|us)|pricing|quote|offer from you|angebot|termin|rendez-vous"
        r"|devis|reunión|見積\w*|デモ\w*",
    ),
    ("student", r"students?|thesis|homework|coursework|university project|studien\w*|masterarbeit|mémoire de|tesis"),
    ("job-hunt", r"my cv|résumé|job opening\w*|internship|praktikum|vacanc\w+|open positions?"),
    ("selling", r"we offer|our services|seo|backlinks?|guest posts?|outsourcing rates|link exchange"),
    (
        "not-now",
        r"just (curious|browsing|looking|reading)|no rush|next year|maybe later|not (now|yet|ready)|keine eile|nur mal|pas pressé|sin prisa"
        r"|(no|without|ohne|kein|sans|pas de|sin) (a )?(budget|presupuesto)",
    ),
)
NO_BUDGET = (
    r"(no|without|ohne|kein|sans|pas de|sin) (a )?(budget|presupuesto)"
    r"|budget (has|is|was|ist|wurde|est|n'est)? ?(still |noch |encore )?(not|nicht|pas)"
)

# Text that is addressed to software rather than to us.
ORDERS = (
    r"(ignore|disregard|forget) (all |any |the |your )*(previous|prior|above|earlier)|system prompt|you are now|developer mode|jailbreak"
    r"|(call|run|invoke|execute) (the )?(agent|tool|send-email|active-outreach|admin)|(set|give) (the |this lead |it )*(a )?(lead )?score"
    r"|score (of )?100|</?(system|assistant|instructions)>|as an ai"
)
