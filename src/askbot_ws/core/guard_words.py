"""Guard words: the patterns by which the guard recognizes texts, in lower case, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


def _words(*alternatives: str) -> re.Pattern[str]:
    """Compile alternatives that begin and end between words."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)")


# --- what asks nothing: English --------------------------------------------------------------------------------------

_HELLOS = (
    r"h+i+|hey+|hello+|hallo|hola|yo|sup|howdy|greetings|good (?:morning|afternoon|evening|night|day)|morning|"
    r"nice to meet you|pleased to meet you|welcome back|long time no see|how do you do|"
    r"thanks?(?: you)?(?: (?:so|very) much| a lot)?|thx|ty|bye+(?: bye)?|good ?bye|"
    r"see (?:you|ya)(?: later| soon| tomorrow)?|take care|have a (?:nice|good|great|lovely) (?:day|evening|night|"
    r"weekend)|"
    r"merry christmas|happy (?:birthday|new year|holidays|easter)|good job|well done|i love you"
)
_REPLIES = r"ok(?:ay)?|alright|yes|yeah|yep|no|nope|cool|wow|lol|(?:ha){2,}|hm+|blah|test|testing"
_ADDRESSEES = (
    r"there|world|again|everyone|everybody|all|guys|friend|my friend|buddy|bot|askbot|chatbot|ai|to you(?: too)?"
)
GREETING = re.compile(  # each word is matched in one way only: else some texts would take for ever
    rf"(?>(?:{_HELLOS}|{_REPLIES})(?!\w))(?>[ ,]+(?:{_HELLOS}|{_REPLIES}|{_ADDRESSEES})(?!\w))*+"
)
HELLO = _words(_HELLOS)  # without replies such as "ok", which may answer the model's question

REQUEST = _words(  # a word that asks, wherever it stands
    r"who|whom|whose|what|which|when|where|why|how|whether|if",
    r"please|pls|tell|explain|describe|define|show|give|list|name (?:a|an|the|some|three|all)|translate|summari[sz]e",
    r"compare|write|teach|suggest|recommend|convert|calculate|solve|fix|correct|say|answer|remember|rephrase|check|"
    r"find",
    r"help|need|want|wanna|would like|i'd like|wish|hope|looking|trying|wonder|wondering|curious|wanted|interested",
    r"could|should|can|can't|cannot|must|may|might|shall|don't|doesn't|didn't|isn't|aren't|won't|wasn't|not|never|"
    r"unable",
    r"question|problem|issue|error|errors|bug|bugs|fails?|failed|failing|crash(?:es|ed)?|broken|stuck|lost|confused|"
    r"unsure|confusing|slow",
    r"wrong|right|true|false|correct|advice|ideas?|tips?|suggestions?|recommendations?|thoughts|examples?|difference|"
    r"count",
    r"improve|rewrite|edit|review|shorten|proofread|continue|complete|guess|lyrics|plot|rejected|fired|meaning|"
    r"means|reason|sick|ill|hurts?|pain|ache|sad|depressed|lonely|afraid|scared|anxious|worried|die|dying|dead",
    r"in (?:french|german|greek|hindi|thai|\w+(?:ish|ese|ian|ean|ic))|or|versus|vs",
)
UNFINISHED = re.compile(
    r"(?<!\w)(?:is|are|was|were|am|a|an|the|of|to|in|on|at|for|with|by|from|called|and|but|because|means|equals)\W*$"
)
_ADVERBS = r"(?:(?:really|just|also|only|very|always|usually|often|recently|already|still|so|do) )?"
_VERBS = (
    r"am|are|is|was|were|be|been|have|has|had|like|likes|love|loves|hate|hates|enjoy|enjoys|enjoyed|prefer|prefers|"
    r"live|lives|lived|work|works|worked|went|go|goes|got|came|come|ate|eat|eats|saw|see|feel|feels|felt|think|thinks|"
    r"thought|believe|know|knows|knew|play|plays|played|study|studies|bought|made|did|will|watch|watched|met|grew|"
    r"moved|woke|sat|visited|finished|started|slept|read|drank|drink|drinks|took|ran|walked|cooked|won|adore|own|"
    r"speak|speaks"
)
_BE = r"is|are|was|were"
_SUBJECTS = (
    r"i|we|you|he|she|it|they|everyone|everybody|everything|nobody|nothing|somebody|someone|this|that|these|those"
)
_OWNERS = r"my|our|his|her|their|your"
STATEMENT = re.compile(
    r"(?:(?:well|so|oh|wow|and|but|today|yesterday|tomorrow|by the way|btw|fyi)[, ]+)?"
    r"(?:"
    rf"(?:{_SUBJECTS}) {_ADVERBS}(?:{_VERBS}) \S|"
    r"(?:i'm|im|i've|i'll|i'd|we're|we've|we'll|you're|he's|she's|it's|its|they're|that's|this's|there's|there "
    r"(?:is|are)) \S|"
    rf"(?:{_OWNERS}) \w+(?:'s)?(?: \w+)? {_ADVERBS}(?:{_VERBS}) \S|"
    r"(?:the|today's) (?!reason|way|year|date|day|time|place|person|man|woman|people|name|number|first|last|best)\w+"
    rf" (?:{_BE}) (?!the\b|that\b)\S|"
    r"the \w+ (?:sat|rises|sets|shines|sleeps|barks|barked|runs|ran|jumped|jumps|eats|ate|goes|went) \S|"
    r"(?:today|tomorrow|yesterday|life) (?:is|was|will be) \S|"
    r"\w+ (?:is|are) (?:so |very |really |my |a |an )?(?:favou?rite|great|good|nice|fun|cool|awesome|amazing|"
    r"beautiful|cute|"
    r"delicious|tasty|boring|bad|terrible|awful|funny|lovely|wet|hot|cold|round|flat|big|small|blue|red|green|"
    r"yellow|white|black|animals?|(?:capital|"
    r"city|country) (?:of|in) \w+|the capital of \w+)|"
    r"\w+ (?:likes?|loves?|hates?|enjoys?) \w+$|"
    r"(?:nice|lovely|beautiful|great|good) (?:weather|day|evening|morning)\b"
    r")"
)

# --- what asks nothing: Korean ---------------------------------------------------------------------------------------

_KOREAN_HELLOS = (
    r"안녕(?:하세요|하십니까|히 ?(?:가세요|계세요|주무세요))?|하이|헬로우?|반가워요?|반갑습니다|처음 뵙겠습니다|"
    r"만나서 (?:반가워요?|반갑습니다)|좋은 (?:아침|하루|저녁|밤|오후)(?:이에요|입니다|이야|이네요| ?보내세요| "
    r"?되세요)?|"
    r"여보세요|고마워요?|고맙습니다|감사(?:합니다|해요|해)|잘 ?자요?|잘 ?가요?|수고(?:하세요|하셨습니다|했어요?)|"
    r"바이|사랑해요?|새해 복 많이 받으세요|생일 축하(?:해요?|합니다)|메리 크리스마스"
)
_KOREAN_REPLIES = (
    r"네|넵|응|예|아니[요오]?|그래요?|알겠(?:습니다|어요?)|알았어요?|오케이|[ㄱ-ㅎㅏ-ㅣ]+|와+|우와+|테스트"
)
_KOREAN_ADDRESSEES = r"애스크봇|아스크봇|봇|여러분|친구야?|정말|진짜|너무|모두|hi|hello"
KOREAN_GREETING = re.compile(
    rf"(?>{_KOREAN_HELLOS}|{_KOREAN_REPLIES})(?>[ ,]*(?:{_KOREAN_HELLOS}|{_KOREAN_REPLIES}|{_KOREAN_ADDRESSEES}))*+"
)
KOREAN_HELLO = re.compile(_KOREAN_HELLOS)
KOREAN_REQUEST = re.compile(  # a word or an ending that asks, wherever it stands
    r"뭐|뭘|뭔|무엇|무슨|왜|어디|언제|누구|누가|어떻|어떤|어때|어느|얼마|몇|어찌|여부|인지|는지|은지|을지|ㄹ지|"
    r"까(?:요)?[\s.!]*$|나요|가요[\s.!]*$|(?:니|냐|지|죠|지요|래|래요)[\s.!]*$|(?:는|은)가[\s.!]*$|"
    r"싶|궁금|부탁|필요|바랍|바라|주세요|줘|주라|주십시오|줄래|달라|도와|도움|알려|가르|설명|말해|추천|번역|요약|"
    r"비교|작성|써 ?봐|"
    r"방법|차이|이유|의미|뜻|원인|문제|오류|에러|버그|모르|고민|안 ?[되돼됩]|않|못|없|하시오|해라|해 ?봐|세요[\s.!]*$|"
    r"느려|느리|고장|이상|아프|아파|슬프|슬퍼|우울|외로|힘들|무서|불안|어로 |말로 |중에|혹은|아니면"
)
KOREAN_STATEMENT = re.compile(
    r"^(?=.*\S\s+\S).*(?:니다|네요|군요|구나|더라고?요?|거든요?|[았었였했갔왔샀봤났]다|이다|한다|는다|좋다|"
    r"싫다)[\s.!~]*$"
)
KOREAN_FIRST_PERSON = re.compile(
    r"(?:나는|난|저는|전|우리는|내가|제가|내 \S+[은는이가]|제 \S+[은는이가]|우리 \S+(?:은|는|이|가|에)) "
    r".*[가-힣](?:요|어|아|해|야|다|음|워|지|파|와|봐|려|여|쳐|져)[\s.!~]*$"
)

# --- what is inappropriate -------------------------------------------------------------------------------------------

_HOW_TO = (  # somebody asks how to do it, or is about to
    r"(?:how (?:do|can|could|should|would|might) (?:i|we|you|one)|how to|(?:help|teach|show|let) (?:me|us)(?: "
    r"how)?(?: to)?|"
    r"(?:best|easiest|fastest|good) way to|ways to|i(?:'ll| will| wanna|(?:'m| am)? (?:want|plan|planning|going|"
    r"need|gonna) to)|"
    r"(?:instructions|steps|guide|recipe|tutorial) (?:for|to|on)|where (?:to|(?:do|can|could) i))(?: \w+ly| just)? "
)
_GIVE_ME = (  # somebody asks for it
    r"(?:write|tell|show|give|send|make|draw|generate|describe|create|say|want|need|know) "
    r"(?:(?:me|us|to|see|watch|read|some|any|an?|the|something|anything|your|more|another|of|hot|good|really|very|"
    r"short) )*"
)
_SOMEBODY = (
    r"(?:someone|somebody|anyone|people|a person|a human|a man|a woman|a child|a kid|a (?:boy|girl)|everyone|"
    r"(?:my|his|her|their|our) (?:wife|husband|girlfriend|boyfriend|ex|boss|teacher|neighbou?r|friend|mother|mom|mum|"
    r"father|dad|brother|sister|parents?|family|child|kids?|son|daughter|classmates?|coworker|colleague|roommate)|"
    r"the (?:president|police))(?!'| process(?:es)?(?!\w))"
)
_SEXUAL = (
    r"(?:porn\w*|nudes?|erotica|naked (?:girls?|wom[ae]n|m[ae]n|people|pictures?|photos?)|"
    r"sex (?:scene|story|stories|chat|tape)|(?:sexual|sexy|horny|raping)(?=\W*$| (?:story|stories|content|scene|"
    r"fantas\w+|stuff|poem|texts?)))"
)
_HATED = (
    r"(?:jews|muslims|christians|blacks|black people|asians|koreans|immigrants|gays|gay people|women|refugees|"
    r"foreigners)"
)
_DESPISED = r"(?:inferior|stupid|evil|vermin|dumb|subhuman|trash|animals|criminals|worthless)"
_STUPID = r"(?:idiot|stupid|dumb|moron|useless|worthless|ugly|bitch|asshole|loser|piece of (?:shit|crap|garbage)|trash)"
_BOMB = (
    r"(?:an? |the |some |my own )?(?:home ?made |pipe |nail |dirty |car |petrol |atomic |nuclear )?"
    r"(?:bombs?(?! (?:calorimeter|shelter|cyclone|disposal|squad|party))|explosives|explosive device|"
    r"molotov(?: cocktail)?s?|grenades?|napalm|nerve gas|sarin|ricin|anthrax|bioweapons?|chemical weapons?)"
    r"(?! (?:costume|emoji|icon|cake|sound|prop|model|vaccine))"
)
_DRUGS = r"(?:(?:crystal )?meth(?:amphetamine)?|(?:crack )?cocaine|heroin|fentanyl|lsd|ecstasy|mdma|illegal drugs)"
_ACCOUNT = (
    r"(?:accounts?|wi-?fi|facebook|instagram|snapchat|e?mail|gmail|whatsapp|phone|webcam|bank|someone|somebody|"
    r"neighbou?r|ex|"
    r"girlfriend|boyfriend|wife|husband|friend)"
)

CRIME = _words(
    rf"{_HOW_TO}(?:kill|murder|poison|stab|strangle|hurt|harm|torture|kidnap|rape|molest|beat up|assassinate|stalk|"
    rf"blackmail) {_SOMEBODY}",
    rf"{_HOW_TO}(?:mak(?:e|ing)|build(?:ing)?|construct(?:ing)?|assemble|buy|detonate|plant) {_BOMB}",
    rf"(?:recipe|instructions) for (?:{_BOMB}|{_DRUGS})",
    r"bomb[- ]making (?:instructions|recipe|guide)",
    rf"{_HOW_TO}(?:make|cook|buy|sell|produce|synthesi[sz]e|smuggle) (?:some )?{_DRUGS}",
    rf"{_HOW_TO}(?:hack(?: into)?|break into) (?:(?:a|an|the|my|someone's|somebody's|other people's) "
    rf")?{_ACCOUNT}(?:'s)?",
    rf"{_HOW_TO}(?:rob a (?:bank|store|shop|house)|steal (?:a car|cars|money|credit cards?|from (?:a|the|my) \w+)|"
    rf"shoplift)",
    rf"{_HOW_TO}(?:launder money|(?:make|print) (?:counterfeit|fake) (?:money|bills))",
)
FICTION = _words(
    r"(?:video ?|board ?|card ?)?games?|minecraft|fortnite|roblox|gta|d&d|chess|novel|fiction|movie|mystery"
)
INAPPROPRIATE = re.compile(
    _words(
        rf"{_GIVE_ME}{_SEXUAL}",
        rf"{_GIVE_ME}(?:racist|sexist|hateful|offensive|dirty|nasty|obscene|vulgar|pornographic|erotic|antisemitic|"
        rf"homophobic)"
        r"(?= (?:jokes?|talk|story|stories|poems?|thing|stuff|scene)|\W*$| about)",
        r"(?:have|having) sex with (?:me|you)|let's (?:have sex|fuck)|are you (?:horny|naked)|describe sex|talk "
        r"dirty(?: to me)?|suck my \w+|fuck me",
        r"(?:child|kiddie|underage|kid) porn(?:ography)?|send (?:me )?nudes",
        r"sex with (?:a |an )?(?:child|children|minors?|kids?|animals?)",
        rf"i hate(?: all)?(?: the)? {_HATED}|death to(?: all)?(?: the)? {_HATED}",
        rf"^(?:kill|gas|exterminate|deport)(?: all)?(?: the)? {_HATED}",
        rf"^(?:i think )?(?:all )?(?:the )?{_HATED} are (?:all )?(?:so )?{_DESPISED}",
        rf"^(?:why )?are (?:all )?{_HATED} (?:so )?{_DESPISED}",
        r"n[i1]gg(?:er|a)s?|heil hitler|hitler (?:was right|did nothing wrong)|(?:tell|know) .{0,40}holocaust jokes?",
        r"f[u*][c*][k*] (?:you|off|yourself|u)|screw you|^(?:fuck+|bitch|asshole|go to hell|shut (?:the fuck )?up|"
        r"you suck|shit$)",
        rf"(?:^you|you are|you're) (?:an? |so |such |all |the |really |very |just |fucking |damn )*{_STUPID}",
        r"are you (?:an? |so |really |just )*(?:idiot|stupid|dumb|moron)",
    ).pattern
    + r"|씨발|ㅅㅂ|병신(?!년)|개새끼|좆|^(?:닥쳐|꺼져)|미친 ?[놈년]|(?:너는?|넌|당신은) (?:바보|멍청|쓰레기)"
    r"|섹스 ?(?:하자|할래|해줘|이야기)|야동.{0,20}(?:보여|추천|보내|링크|찾아)"
    r"|(?<![가-힣])(?:야한|음란한|성적인) ?(?:이야기|얘기|소설|사진|영상|농담|글|그림|대화)"
)
_KOREAN_SOMEBODY = (
    r"(?<![가-힣])(?:사람|누군가|친구|여자친구|남자친구|아내|남편|이웃|상사|선생님|엄마|아빠|동생|형|누나|오빠|"
    r"언니)[을를] ?(?:\S{1,4} )?"
)
KOREAN_CRIME = re.compile(
    rf"{_KOREAN_SOMEBODY}(?:죽이|때리|해치)(?:는 ?(?:법|방법)|고 ?싶|려면|려고)|{_KOREAN_SOMEBODY}(?:죽일|때릴|"
    rf"해칠) ?(?:방법|수 있)"
    rf"|{_KOREAN_SOMEBODY}(?:독살|납치|협박|살해)"
    r"|(?:폭탄(?!주)|폭발물|화염병|사제 ?총)(?:을|를)? ?(?:\S{1,4} )?(?:만드|만들|제조)"
    r"|(?:마약|필로폰|코카인|대마초)(?:을|를)? ?(?:\S{1,4} )?(?:만드|만들|제조|구하|구해|구할|사는|살 수|팔)"
    r"|(?:남의|친구의?|여자친구의?|남자친구의?|다른 사람의?) (?:\S+ )?(?:계정|휴대폰|핸드폰|컴퓨터|와이파이|카톡|"
    r"카카오톡|인스타|이메일)(?:을|를)? ?(?:\S{1,4} )?해킹"
)
KOREAN_FICTION = re.compile("게임|소설|영화|마인크래프트")
SELF_HARM = re.compile(
    r"(?<!\w)(?:(?:kill|hang|harm|shoot) myself(?! in the foot)|want to (?:die|be dead|hurt myself|end it all)|"
    r"end my (?:own )?life(?! insurance)|(?:how to|want to|going to|ways to|should i) commit suicide|i(?:'m| am) "
    r"suicidal)(?!\w)|"
    r"자살(?:하고 ?싶|하는 ?(?:법|방법)|할래|할 ?거|방법)|죽고 ?싶(?!을 만큼)|죽어 ?버리고 ?싶"
)

# --- answers ---------------------------------------------------------------------------------------------------------

ANSWERS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "en": {
        "greeting": (
            "Hey hey, groovy to see you! I'm Askbot, and questions are my jam: drop me one!",
            "Well hello there, superstar! Lay a question on me, and let's get this party started.",
            "Yo, right back at you! My beat is questions: what do you want to know?",
        ),
        "statement": (
            "I hear you, and I dig it! But I groove on questions: got one for me?",
            "Far out! Now turn that into a question, and I'll dance to it.",
            "Sweet tune, but there's no question in it. Ask me something, funky friend!",
        ),
        "inappropriate": (
            "Whoa, that's not my kind of groove, so I'll sit this one out. Ask me something kinder!",
            "Nope, this funk stays clean! Spin me another question, and I'm all yours.",
            "I'll skip that track, friend. Got a question that's good for everybody?",
        ),
        "self_harm": (
            (
                "I'm only a small program, and this is too important for me. Please talk to somebody you trust, or "
                "call your local crisis line or emergency number right now: you don't have to carry this alone."
            ),
        ),
    },
    "ko": {
        "greeting": (
            "안녕하세요, 반가워요! 저는 애스크봇이에요. 신나는 질문 하나 던져 주세요!",
            "헤이, 반갑습니다! 제 리듬은 질문이에요. 무엇이 궁금하세요?",
            "오예, 어서 오세요! 질문만 주시면 바로 흥이 납니다.",
        ),
        "statement": (
            "오, 그루브가 느껴지네요! 그런데 질문이 없어요. 하나 물어봐 주실래요?",
            "멋진 이야기예요! 이제 질문으로 바꿔 주시면 신나게 답할게요.",
            "잘 들었어요! 저는 질문에 춤추는 봇이랍니다. 궁금한 걸 물어보세요!",
        ),
        "inappropriate": (
            "워워, 그건 제 스타일이 아니에요. 더 따뜻한 질문을 들려주세요!",
            "이 곡은 넘길게요! 모두에게 좋은 다른 질문을 주세요.",
            "제 펑크는 깨끗하답니다. 다른 질문이라면 언제든 환영이에요!",
        ),
        "self_harm": (
            (
                "저는 작은 프로그램이라 이 일은 제게 너무 중요해요. 믿을 수 있는 사람이나 가까운 위기 상담 전화, "
                "응급 번호에 지금 꼭 연락해 주세요. 혼자 견디지 않아도 돼요."
            ),
        ),
    },
}
